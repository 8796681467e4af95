//! kubeconfig files as people have them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use onggi_base::pki::Pair;
use onggi_client::Token;
use onggi_client::kubeconfig::{
    Kubeconfig, NewContext, merge_context, remove_context, set_context, use_context,
};

const THEIRS: &str = "\
apiVersion: v1
kind: Config
current-context: work
preferences: {colors: true}
extensions: [{name: x, extension: {any: 1}}]
clusters:
- name: work
  cluster: {server: 'https://work.example:6443', certificate-authority: ca.pem}
- name: broken
  cluster: {certificate-authority-data: '%%%', server: 'https://b'}
users:
- name: me
  user: {tokenFile: token}
- name: plugin
  user: {exec: {command: aws}}
contexts:
- name: work
  context: {cluster: work, user: me, namespace: team}
- name: broken
  context: {cluster: broken, user: me}
- name: lost
  context: {cluster: gone, user: me}
- name: plugin
  context: {cluster: work, user: plugin}
";

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn ours() -> NewContext {
    let pair = Pair { certificate: "cert".into(), key: "key".into() };
    NewContext::inline("onggi", "https://127.0.0.1:6443", "ca", &pair)
}

#[test]
fn a_context_is_resolved() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "config", THEIRS);
    write(directory.path(), "ca.pem", "PEM");
    let config = Kubeconfig::load(&[path]).unwrap();
    let work = config.resolve(None).unwrap();
    assert_eq!((work.context.as_str(), work.namespace.as_str()), ("work", "team"));
    assert_eq!(work.config.server, "https://work.example:6443");
    assert_eq!(work.config.ca.as_deref(), Some("PEM"));
    let Some(Token::File(file)) = work.config.token else { panic!("no token file") };
    assert_eq!(file, directory.path().join("token"));
}

#[test]
fn errors_name_file_and_field() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "config", THEIRS);
    write(directory.path(), "ca.pem", "PEM");
    let file = path.display().to_string();
    let config = Kubeconfig::load(std::slice::from_ref(&path)).unwrap();
    for (context, text) in [
        ("broken", "clusters[name=broken].cluster.certificate-authority-data: is no base64: "),
        ("lost", "contexts[name=lost].context.cluster: there is no \"gone\" in clusters"),
        (
            "plugin",
            "users[name=plugin].user.exec: apiVersion \"\" is none of client.authentication.k8s.io/v1",
        ),
    ] {
        let error = config.resolve(Some(context)).err().unwrap().to_string();
        assert!(error.starts_with(&format!("{file}: {text}")), "{error}");
    }
    let error = config.resolve(Some("x")).err().unwrap().to_string();
    assert_eq!(
        error,
        format!("no context \"x\" in {file} (there are: work, broken, lost, plugin)")
    );
    fs::remove_file(directory.path().join("ca.pem")).unwrap();
    let error = config.resolve(None).err().unwrap().to_string();
    assert!(error.contains("cluster.certificate-authority: ") && error.contains("ca.pem: No such"));
    let bad = write(directory.path(), "bad", "a: 1\na: 2\n");
    let error = Kubeconfig::load(std::slice::from_ref(&bad)).err().unwrap().to_string();
    assert!(error.starts_with(&format!("{}: line 2, column 1: ", bad.display())), "{error}");
    let none = Kubeconfig::load(&[directory.path().join("none")]).unwrap();
    let error = none.resolve(None).err().unwrap().to_string();
    assert!(error.contains("onggi up"), "{error}");
}

#[test]
fn the_first_of_several_files_wins() {
    let directory = tempfile::tempdir().unwrap();
    let one = directory.path().join("one");
    let two = write(directory.path(), "two", THEIRS);
    write(directory.path(), "ca.pem", "PEM");
    merge_context(&one, &ours(), false).unwrap();
    let config = Kubeconfig::load(&[one.clone(), two.clone()]).unwrap();
    assert_eq!(config.current_context(), "onggi", "an empty file gets it as its current one");
    let resolved = config.resolve(None).unwrap();
    assert_eq!(resolved.namespace, "default");
    assert_eq!(resolved.config.ca.as_deref(), Some("ca"));
    assert_eq!(resolved.config.client.unwrap().key, "key");
    assert_eq!(config.resolve(Some("work")).unwrap().namespace, "team");
    assert_eq!(config.home_of("work").unwrap(), two);
    assert_eq!(config.home_of("new").unwrap(), one);
}

#[test]
fn a_merge_leaves_the_rest_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "config", THEIRS);
    let parse =
        |path: &Path| onggi_machinery::yaml::parse(&fs::read_to_string(path).unwrap()).unwrap();
    let before = parse(&path);
    merge_context(&path, &ours(), true).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let merged = parse(&path);
    assert_eq!(merged["current-context"], "onggi");
    assert_eq!(merged["extensions"], before["extensions"]);
    assert_eq!(merged["users"].as_array().unwrap().len(), 3);
    merge_context(&path, &ours(), true).unwrap();
    assert_eq!(parse(&path), merged, "again is the same");
    set_context(&path, "onggi", &[("namespace", "shop")]).unwrap();
    let config = Kubeconfig::load(std::slice::from_ref(&path)).unwrap();
    assert_eq!(config.resolve(None).unwrap().namespace, "shop");
    use_context(&path, "work").unwrap();
    remove_context(&path, "onggi").unwrap();
    assert_eq!(parse(&path), before);
}

#[test]
fn a_new_file_is_private_and_a_link_stays_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(".kube/config");
    merge_context(&path, &ours(), true).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    remove_context(&link, "onggi").unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().file_type().is_symlink());
    assert!(!fs::read_to_string(&path).unwrap().contains("127.0.0.1"));
    let other = write(directory.path(), "list", "- 1\n");
    assert!(merge_context(&other, &ours(), true).is_err());
    assert_eq!(fs::read_to_string(&other).unwrap(), "- 1\n");
    let yaml = ours().to_yaml();
    assert!(yaml.contains("current-context: onggi"), "{yaml}");
}
