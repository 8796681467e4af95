//! The body of a large list, put together as the client takes it: objects are copied once, into
//! pieces that all fit the same memory, and the list as a whole lies nowhere.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec::IntoIter;

use bytes::{BufMut, Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use onggi_api::Object;

/// How large a piece is, as long as no object is larger.
const PIECE: usize = 128 << 10;
const CLOSE: &[u8] = b"]}";

/// See the module.
pub(super) struct ListBody {
    /// Up to and with the bracket that opens the items.
    head: Bytes,
    items: IntoIter<Arc<Object>>,
    first: bool,
    left: usize,
    /// Whether others had their turn since the last piece.
    rested: bool,
}

impl ListBody {
    pub(super) fn new(head: Bytes, items: Vec<Arc<Object>>) -> Self {
        let left = length(&head, &items);
        Self { head, items: items.into_iter(), first: true, left, rested: true }
    }

    /// All of it.
    pub(super) fn whole(mut self) -> Bytes {
        self.piece(usize::MAX)
    }

    fn piece(&mut self, most: usize) -> Bytes {
        let mut out = BytesMut::with_capacity(most.min(self.left));
        out.put_slice(&std::mem::take(&mut self.head));
        while let Some(next) = self.items.as_slice().first() {
            let size = next.json_len() + 1;
            if !out.is_empty() && out.len().saturating_add(size) > most {
                break;
            }
            if !std::mem::take(&mut self.first) {
                out.put_u8(b',');
            }
            next.write_json(&mut out);
            self.items.next();
        }
        if self.items.as_slice().is_empty() {
            out.put_slice(CLOSE);
        }
        self.left = self.left.saturating_sub(out.len());
        out.freeze()
    }
}

/// How long a list is as bytes.
fn length(head: &[u8], items: &[Arc<Object>]) -> usize {
    let objects: usize = items.iter().map(|object| object.json_len()).sum();
    head.len() + objects + items.len().saturating_sub(1) + CLOSE.len()
}

impl Body for ListBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        // A client that takes whatever it gets would keep this thread for all of the list.
        if !std::mem::replace(&mut self.rested, false) {
            self.rested = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(self.piece(PIECE)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    use super::*;

    #[tokio::test]
    async fn pieces_make_the_list() {
        let object = |name: &str, size: usize| {
            let value = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name}, "data": {"k": "x".repeat(size)}});
            Arc::new(Object::from_value(&value, &[]).unwrap())
        };
        let cases = [
            vec![],
            vec![object("a", 1)],
            vec![object("large", 3 * PIECE), object("b", 1), object("c", PIECE)],
            (0..100).map(|n| object(&n.to_string(), 5000)).collect(),
        ];
        for items in cases {
            let head = Bytes::from_static(b"{\"kind\":\"ConfigMapList\",\"items\":[");
            let expected: Vec<Value> = items.iter().map(|o| o.value().unwrap()).collect();
            let whole = ListBody::new(head.clone(), items.clone()).whole();
            let body = ListBody::new(head, items);
            let length = body.size_hint().exact().unwrap();
            let bytes = body.collect().await.unwrap().to_bytes();
            assert_eq!(bytes.len() as u64, length);
            assert_eq!(bytes, whole);
            let list: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(list["items"], json!(expected));
        }
    }
}
