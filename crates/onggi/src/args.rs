//! The command line.

mod identity;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args as ClapArgs, Parser, Subcommand};
use onggi_supervisor::Options;

/// Containers, orchestration and mesh in one binary.
#[derive(Parser)]
#[command(name = "onggi", version, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) globals: onggi_ctl::Globals,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Start a cluster on this machine, in the background
    Up(Node),
    /// Start a cluster with the sample application on it
    Demo(Node),
    /// End the cluster and remove everything it made in the kernel; the data stays
    Down(Down),
    /// Show how the cluster on this machine is
    Status(crate::status::Status),
    /// Run a server with its node in the foreground, for service managers
    Server(Box<Server>),
    /// What is done with Secrets at rest
    #[command(subcommand)]
    Secrets(Secrets),
    /// Explain what this machine lacks to run a cluster
    Doctor(crate::doctor::Doctor),
    /// Print the administrator's kubeconfig
    Kubeconfig(Place),
    #[command(flatten)]
    Kubectl(Box<onggi_ctl::Verb>),
    #[command(flatten)]
    Images(crate::images::Verb),
    /// What `up` starts
    #[command(hide = true)]
    Daemon {
        /// As JSON
        #[arg(long)]
        options: String,
    },
}

/// Of Secrets at rest.
#[derive(Subcommand)]
pub(crate) enum Secrets {
    /// Make new keys and seal all Secrets anew with them
    RotateKey(Place),
}

/// Which cluster on this machine.
#[derive(ClapArgs, Clone)]
pub(crate) struct Place {
    /// Where everything is kept
    #[arg(long, value_name = "DIR", env = "ONGGI_DATA_DIR", default_value = "/var/lib/onggi")]
    pub(crate) data_dir: PathBuf,
}

/// How a node runs.
#[derive(ClapArgs, Clone)]
pub(crate) struct Node {
    #[command(flatten)]
    place: Place,
    /// Where the API server answers
    #[arg(long, value_name = "ADDR", env = "ONGGI_LISTEN", default_value = "127.0.0.1:6443")]
    listen: SocketAddr,
    /// Addresses of pods
    #[arg(long, value_name = "CIDR", env = "ONGGI_POD_CIDR", default_value = "10.244.0.0/16")]
    pod_cidr: String,
    /// Addresses of Services
    #[arg(long, value_name = "CIDR", env = "ONGGI_SERVICE_CIDR", default_value = "10.96.0.0/16")]
    service_cidr: String,
    /// Name of the node; the host's where it is not given
    #[arg(long, value_name = "NAME", env = "ONGGI_NODE_NAME")]
    node_name: Option<String>,
}

/// How a server runs: the options of kube-apiserver and kube-controller-manager under their names.
#[derive(ClapArgs, Clone)]
pub(crate) struct Server {
    #[command(flatten)]
    node: Node,
    /// Run API server, controllers and scheduler alone; needs no root
    #[arg(long)]
    no_node: bool,
    /// Controllers that run: * for all, a name for this one, -name for not this one
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "*",
        allow_hyphen_values = true
    )]
    controllers: Vec<String>,
    /// Leave it to somebody else to bind pods to nodes
    #[arg(long)]
    disable_scheduler: bool,
    /// Static tokens: token,user,uid,"group1,group2" a line
    #[arg(long, value_name = "FILE")]
    token_auth_file: Option<PathBuf>,
    /// Further authorities of users' certificates
    #[arg(long, value_name = "FILE")]
    client_ca_file: Option<PathBuf>,
    /// Who decides, in this order: Node, RBAC, Webhook, AlwaysAllow, AlwaysDeny
    #[arg(long, value_name = "MODES", value_delimiter = ',', default_value = "Node,RBAC")]
    authorization_mode: Vec<onggi_supervisor::Mode>,
    /// Admission plugins beside the usual ones
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    enable_admission_plugins: Vec<String>,
    /// Admission plugins to do without
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    disable_admission_plugins: Vec<String>,
    /// The server's certificate
    #[arg(long, value_name = "FILE")]
    tls_cert_file: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE")]
    tls_private_key_file: Option<PathBuf>,
    /// Whether requests without credentials are let in; health checks alone where it is not given
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    anonymous_auth: Option<bool>,
    /// Issuer of service account tokens
    #[arg(long, value_name = "URL")]
    service_account_issuer: Option<String>,
    /// Further keys that service account tokens may be signed with (P-256)
    #[arg(long, value_name = "FILE")]
    service_account_key_file: Vec<PathBuf>,
    /// Whom this server takes service account tokens for; the issuer where it is not given
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    api_audiences: Vec<String>,
    /// An EncryptionConfiguration that names what to seal beside Secrets
    #[arg(long, value_name = "FILE")]
    encryption_provider_config: Option<PathBuf>,
    /// Who signs requests for certificates; the cluster's authority where it is not given
    #[arg(long, value_name = "FILE")]
    cluster_signing_cert_file: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE")]
    cluster_signing_key_file: Option<PathBuf>,
    /// Authorities of proxies that vouch for their users
    #[arg(long, value_name = "FILE")]
    requestheader_client_ca_file: Option<PathBuf>,
    /// Common names of proxies; any where none is given
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    requestheader_allowed_names: Vec<String>,
    /// Headers with the user's name
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    requestheader_username_headers: Vec<String>,
    /// Headers with groups
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    requestheader_group_headers: Vec<String>,
    /// Beginnings of headers with more about the user
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    requestheader_extra_headers_prefix: Vec<String>,
    #[command(flatten)]
    identity: identity::Identity,
    /// The certificate that aggregated API servers are shown; one of our own where it is not given
    #[arg(long, value_name = "FILE")]
    proxy_client_cert_file: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE")]
    proxy_client_key_file: Option<PathBuf>,
    /// An audit.k8s.io/v1 Policy: what the audit log keeps of which requests
    #[arg(long, value_name = "FILE")]
    audit_policy_file: Option<PathBuf>,
    /// The audit log; - for the standard output
    #[arg(long, value_name = "FILE")]
    audit_log_path: Option<PathBuf>,
    /// Days that full audit logs are kept; 0 for ever
    #[arg(long, value_name = "DAYS", default_value_t = 0)]
    audit_log_maxage: u32,
    /// How many full audit logs are kept; 0 for all
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    audit_log_maxbackup: u32,
    /// The size in MiB at which an audit log is full; 0 for 100
    #[arg(long, value_name = "MIB", default_value_t = 0)]
    audit_log_maxsize: u32,
    /// A kubeconfig that names a server to which audit events are sent too, many at a time
    #[arg(long, value_name = "FILE")]
    audit_webhook_config_file: Option<PathBuf>,
    /// How events are sent; there is no other way than this one
    #[arg(long, value_name = "MODE", default_value = "batch", value_parser = ["batch"])]
    audit_webhook_mode: String,
    /// How many events are sent together; 400 where it is not given
    #[arg(long, value_name = "COUNT")]
    audit_webhook_batch_max_size: Option<usize>,
    /// How long events wait for more; 30s where it is not given
    #[arg(long, value_name = "TIME")]
    audit_webhook_batch_max_wait: Option<String>,
    /// How many events may wait; 10000 where it is not given
    #[arg(long, value_name = "COUNT")]
    audit_webhook_batch_buffer_size: Option<usize>,
    /// The pause before events are sent again; 10s where it is not given
    #[arg(long, value_name = "TIME")]
    audit_webhook_initial_backoff: Option<String>,
}

impl Server {
    pub(crate) fn options(self) -> anyhow::Result<Options> {
        let control = onggi_supervisor::Control {
            no_node: self.no_node,
            controllers: self.controllers,
            disable_scheduler: self.disable_scheduler,
            token_auth_file: self.token_auth_file,
            client_ca_file: self.client_ca_file,
            authorization_modes: self.authorization_mode,
            enable_admission_plugins: self.enable_admission_plugins,
            disable_admission_plugins: self.disable_admission_plugins,
            tls_cert_file: self.tls_cert_file,
            tls_private_key_file: self.tls_private_key_file,
            anonymous_auth: self.anonymous_auth,
            service_account_issuer: self.service_account_issuer,
            service_account_key_files: self.service_account_key_file,
            api_audiences: self.api_audiences,
            encryption_provider_config: self.encryption_provider_config,
            cluster_signing_cert_file: self.cluster_signing_cert_file,
            cluster_signing_key_file: self.cluster_signing_key_file,
            requestheader_client_ca_file: self.requestheader_client_ca_file,
            requestheader_allowed_names: self.requestheader_allowed_names,
            requestheader_username_headers: self.requestheader_username_headers,
            requestheader_group_headers: self.requestheader_group_headers,
            requestheader_extra_headers_prefix: self.requestheader_extra_headers_prefix,
            identity: self.identity.into(),
            proxy_client_cert_file: self.proxy_client_cert_file,
            proxy_client_key_file: self.proxy_client_key_file,
            audit_policy_file: self.audit_policy_file,
            audit_log_path: self.audit_log_path,
            audit_log_maxage: self.audit_log_maxage,
            audit_log_maxbackup: self.audit_log_maxbackup,
            audit_log_maxsize: self.audit_log_maxsize,
            audit_webhook_config_file: self.audit_webhook_config_file,
            audit_webhook_batch_max_size: self.audit_webhook_batch_max_size,
            audit_webhook_batch_max_wait: self.audit_webhook_batch_max_wait,
            audit_webhook_batch_buffer_size: self.audit_webhook_batch_buffer_size,
            audit_webhook_initial_backoff: self.audit_webhook_initial_backoff,
        };
        Ok(Options { control, ..self.node.options()? })
    }
}

#[derive(ClapArgs)]
pub(crate) struct Down {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Delete the data too
    #[arg(long)]
    pub(crate) purge: bool,
}

impl Node {
    pub(crate) fn options(&self) -> anyhow::Result<Options> {
        let node_name = match &self.node_name {
            Some(name) => name.clone(),
            None => host_name()?,
        };
        let pod_cidr: onggi_api::Cidr = self.pod_cidr.parse().context("--pod-cidr")?;
        let service_cidr = self.service_cidr.parse().context("--service-cidr")?;
        if pod_cidr.overlaps(service_cidr) {
            anyhow::bail!(
                "--pod-cidr {pod_cidr} and --service-cidr {service_cidr} share addresses; choose \
                 ranges that are apart"
            );
        }
        Ok(Options {
            data_dir: self.place.data_dir.clone(),
            listen: self.listen,
            pod_cidr,
            service_cidr,
            node_name,
            control: onggi_supervisor::Control::default(),
        })
    }
}

/// The host's name as a node may carry it: lower case, as Kubernetes' kubelet takes it.
fn host_name() -> anyhow::Result<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .context("cannot read the host's name; give one with --node-name")?;
    Ok(name.trim().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Args, Command};

    #[test]
    fn no_flag_stands_for_two_things() {
        Args::command().debug_assert();
        onggi_ctl::flags::as_kubectl(Args::command()).debug_assert();
    }
    #[test]
    fn users_and_decisions_from_elsewhere() {
        let parse = |line: &str| {
            let words = line.split_whitespace();
            let args = Args::try_parse_from(["onggi", "server"].into_iter().chain(words));
            args.map(|args| match args.command {
                Command::Server(server) => server.options().unwrap().control.identity,
                _ => panic!("no server"),
            })
        };
        let found = parse(
            "--no-node --oidc-issuer-url=https://i --oidc-client-id=us --oidc-username-claim=email \
             --oidc-username-prefix=- --oidc-groups-claim=groups --oidc-groups-prefix=g: \
             --oidc-required-claim=a=b,c=d --oidc-required-claim=e=f \
             --oidc-signing-algs=RS256,ES256 --oidc-ca-file=/ca \
             --authentication-token-webhook-config-file=/tokens \
             --authentication-token-webhook-version=v1 \
             --authentication-token-webhook-cache-ttl=5m --authorization-mode=Webhook,RBAC \
             --authorization-webhook-config-file=/access --authorization-webhook-version=v1 \
             --authorization-webhook-cache-authorized-ttl=1m \
             --authorization-webhook-cache-unauthorized-ttl=2s",
        );
        let some = |text: &str| Some(text.to_owned());
        let expected = onggi_supervisor::Identity {
            oidc_issuer_url: some("https://i"),
            oidc_client_id: some("us"),
            oidc_username_claim: some("email"),
            oidc_username_prefix: some("-"),
            oidc_groups_claim: some("groups"),
            oidc_groups_prefix: some("g:"),
            oidc_required_claims: vec!["a=b".into(), "c=d".into(), "e=f".into()],
            oidc_signing_algs: vec!["RS256".into(), "ES256".into()],
            oidc_ca_file: Some("/ca".into()),
            authentication_config: None,
            authentication_token_webhook_config_file: Some("/tokens".into()),
            authentication_token_webhook_version: some("v1"),
            authentication_token_webhook_cache_ttl: some("5m"),
            authorization_config: None,
            authorization_webhook_config_file: Some("/access".into()),
            authorization_webhook_version: some("v1"),
            authorization_webhook_cache_authorized_ttl: some("1m"),
            authorization_webhook_cache_unauthorized_ttl: some("2s"),
        };
        assert_eq!(found.ok(), Some(expected));
        let files = parse("--authentication-config=/n --authorization-config=/z").ok().unwrap();
        assert_eq!(files.authentication_config, Some("/n".into()));
        assert_eq!(files.authorization_config, Some("/z".into()));
        assert!(parse("--authorization-config=/z --authorization-mode=RBAC").is_err());
        assert!(parse("--authentication-config=/n --anonymous-auth=false").is_err());
    }
}
