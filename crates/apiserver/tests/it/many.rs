//! Collections of thousands. `ONGGI_OBJECTS=13500` makes it as many as a large cluster has.

use futures::StreamExt;
use http::Method;
use onggi_machinery::resource::Verb;
use serde_json::{Value, json};

use crate::http::send;
use crate::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collections_are_listed_in_pages_and_deleted_at_once() {
    let count: usize = std::env::var("ONGGI_OBJECTS").map_or(300, |text| text.parse().unwrap());
    let s = Server::start().await;
    let pod = |i: usize| {
        json!({
            "metadata": {"name": format!("p{i:05}"), "labels": {"half": (i % 2).to_string()}},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        })
    };
    let mut creates =
        futures::stream::iter((0..count).map(|i| s.create("pods", "default", pod(i))))
            .buffer_unordered(16);
    while let Some(created) = creates.next().await {
        created.unwrap();
    }
    let limit = count / 7 + 1;
    let path = "/api/v1/namespaces/default/pods";
    let page = async |selector: &str, token: &str| {
        let path = format!("{path}?limit={limit}&labelSelector={selector}&continue={token}");
        send(&s, Some(&s.admin), Method::GET, &path, &[], "").await.body
    };
    for (selector, step) in [("", 1), ("half%3D1", 2)] {
        let (mut names, mut token) = (Vec::new(), String::new());
        let mut versions = Vec::new();
        loop {
            let found = page(selector, &token).await;
            let items = found["items"].as_array().unwrap();
            assert!(items.len() <= limit);
            names.extend(items.iter().map(|pod| pod["metadata"]["name"].to_string()));
            let meta = &found["metadata"];
            versions.push(meta["resourceVersion"].clone());
            if selector.is_empty() {
                let left = meta["remainingItemCount"].as_u64().unwrap_or(0);
                assert_eq!(left as usize, count - names.len());
            }
            match meta["continue"].as_str() {
                Some(next) if !next.is_empty() => token = next.to_owned(),
                _ => break,
            }
        }
        assert_eq!(names.len(), count / step);
        assert!(names.is_sorted() && versions.windows(2).all(|pair| pair[0] == pair[1]));
    }
    // Those that are selected go, the others stay.
    let half = format!("{path}?labelSelector=half%3D1");
    let began = std::time::Instant::now();
    for (path, left) in [(half.as_str(), count.div_ceil(2)), (path, 0)] {
        let answer = send(&s, Some(&s.admin), Method::DELETE, path, &[], "").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let rest = s.call(s.request(Verb::List, "pods", "default", "")).await.unwrap();
        assert_eq!(rest.as_array().map(Vec::len), Some(left));
    }
    println!("{count} pods deleted in {:?}", began.elapsed());
    assert_eq!(page("", "").await["items"], Value::from(Vec::<Value>::new()));
}
