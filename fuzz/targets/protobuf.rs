//! Protobuf bodies. The kind stands in them, so all kinds are here.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onggi_api::GroupVersion;
use onggi_machinery::protobuf;
use onggi_machinery::resource;
use onggi_machinery::schema::{self, FieldValidation};

fuzz_target!(|data: &[u8]| {
    let Ok(value) = protobuf::decode(data) else { return };
    // A message may hold JSON, of which not all has a place in a message.
    if let Ok(bytes) = protobuf::encode(&value) {
        let back = protobuf::decode(&bytes).expect("what was written is read");
        let again = protobuf::encode(&back).expect("what was read is written");
        assert_eq!(protobuf::decode(&again).expect("and read"), back);
    }
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let Some(version) = GroupVersion::parse(&text("apiVersion")) else { return };
    let Some(row) = resource::by_kind(&version.group, &version.version, &text("kind")) else {
        return;
    };
    let mut admitted = value;
    if schema::admit(&mut admitted, &row.gvk(), FieldValidation::Ignore).is_ok() {
        onggi_fuzz::admitted(row, &admitted);
    }
});
