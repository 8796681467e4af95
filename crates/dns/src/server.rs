//! Questions over UDP and TCP, answered from the zone or from upstream.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use hickory_proto::op::{Edns, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType, rdata};
use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use hickory_server::net::runtime::Time;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use parking_lot::RwLock;

use crate::zone::{Answer, Data, Kind, Zone};

/// Seconds that an answer, also a negative one, may be kept: as in Kubernetes.
const TTL: u32 = 5;

/// What every question needs.
pub(crate) struct Handler {
    pub(crate) zone: Arc<RwLock<Zone>>,
    pub(crate) upstream: Arc<ArcSwapOption<TokioResolver>>,
    /// The zone's start of authority, sent with negative answers.
    pub(crate) soa: Record,
}

/// A reply before it is encoded.
#[derive(Default)]
struct Reply {
    code: ResponseCode,
    authoritative: bool,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
}

/// The SOA of a domain.
pub(crate) fn start_of_authority(domain: &str) -> Option<Record> {
    let name = |prefix: &str| Name::from_str(&format!("{prefix}{domain}.")).ok();
    let soa = rdata::SOA::new(name("ns.dns.")?, name("hostmaster.")?, 1, 7200, 1800, 86400, TTL);
    Some(Record::from_rdata(name("")?, TTL, RData::SOA(soa)))
}

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut out: R,
    ) -> ResponseInfo {
        let reply = self.reply(request).await;
        let mut metadata =
            Metadata::new(request.metadata.id, MessageType::Response, request.metadata.op_code);
        metadata.authoritative = reply.authoritative;
        metadata.recursion_desired = request.metadata.recursion_desired;
        metadata.recursion_available = true;
        metadata.response_code = reply.code;
        let mut builder = MessageResponseBuilder::from_message_request(request);
        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(asked.max_payload().clamp(512, 1232)).set_version(0);
            edns
        });
        if let Some(edns) = &edns {
            builder.edns(edns);
        }
        let message = builder.build(
            metadata,
            reply.answers.iter(),
            reply.authorities.iter(),
            [].iter(),
            reply.additionals.iter(),
        );
        match out.send_response(message).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, "an answer could not be sent");
                metadata.response_code = ResponseCode::ServFail;
                ResponseInfo::from(hickory_proto::op::Header {
                    metadata,
                    counts: hickory_proto::op::HeaderCounts::default(),
                })
            }
        }
    }
}

impl Handler {
    async fn reply(&self, request: &Request) -> Reply {
        if request.metadata.op_code != OpCode::Query {
            return Reply { code: ResponseCode::NotImp, ..Reply::default() };
        }
        let Ok(info) = request.request_info() else {
            return Reply { code: ResponseCode::FormErr, ..Reply::default() };
        };
        let name: Name = info.query.original().name().clone();
        let kind = info.query.query_type();
        let answer = self.zone.read().answer(&name.to_ascii(), kind_of(kind));
        let ours = |code, answers| Reply { code, authoritative: true, answers, ..Reply::default() };
        match answer {
            Answer::NotOurs => self.forward(name, kind).await,
            Answer::NxDomain => Reply {
                authorities: vec![self.soa.clone()],
                ..ours(ResponseCode::NXDomain, Vec::new())
            },
            Answer::NoData if kind == RecordType::SOA && name == self.soa.name => {
                ours(ResponseCode::NoError, vec![self.soa.clone()])
            }
            Answer::NoData => Reply {
                authorities: vec![self.soa.clone()],
                ..ours(ResponseCode::NoError, Vec::new())
            },
            Answer::Records { records, additional } => {
                let mut reply = ours(
                    ResponseCode::NoError,
                    records.iter().filter_map(|data| record(&name, data)).collect(),
                );
                reply.additionals = additional
                    .iter()
                    .filter_map(|(target, ip)| {
                        record(&Name::from_str(target).ok()?, &Data::Address(*ip))
                    })
                    .collect();
                if let [Data::Cname(target)] = records.as_slice() {
                    reply.answers.extend(self.chase(target, kind).await);
                }
                reply
            }
        }
    }

    /// The addresses behind an alias that leads out of the zone.
    async fn chase(&self, target: &str, kind: RecordType) -> Vec<Record> {
        match Name::from_str(target) {
            Ok(name) if kind != RecordType::CNAME => {
                let name = name.clone().append_domain(&Name::root()).unwrap_or(name);
                self.forward(name, kind).await.answers
            }
            _ => Vec::new(),
        }
    }

    async fn forward(&self, name: Name, kind: RecordType) -> Reply {
        let Some(resolver) = self.upstream.load_full() else {
            return Reply { code: ResponseCode::ServFail, ..Reply::default() };
        };
        match resolver.lookup(name, kind).await {
            Ok(found) => Reply { answers: found.answers().to_vec(), ..Reply::default() },
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => Reply {
                code: none.response_code,
                authorities: none.soa.map(|soa| soa.into_record_of_rdata()).into_iter().collect(),
                ..Reply::default()
            },
            Err(error) => {
                tracing::debug!(%error, "upstream gave no answer");
                Reply { code: ResponseCode::ServFail, ..Reply::default() }
            }
        }
    }
}

fn kind_of(kind: RecordType) -> Kind {
    match kind {
        RecordType::A => Kind::A,
        RecordType::AAAA => Kind::Aaaa,
        RecordType::SRV => Kind::Srv,
        RecordType::PTR => Kind::Ptr,
        RecordType::TXT => Kind::Txt,
        RecordType::CNAME => Kind::Cname,
        RecordType::ANY => Kind::Any,
        _ => Kind::Other,
    }
}

fn record(name: &Name, data: &Data) -> Option<Record> {
    let rdata = match data {
        Data::Address(IpAddr::V4(ip)) => RData::A(rdata::A(*ip)),
        Data::Address(IpAddr::V6(ip)) => RData::AAAA(rdata::AAAA(*ip)),
        Data::Srv { port, target } => {
            RData::SRV(rdata::SRV::new(0, 100, *port, Name::from_str(target).ok()?))
        }
        Data::Ptr(target) => RData::PTR(rdata::PTR(Name::from_str(target).ok()?)),
        Data::Cname(target) => {
            let name = Name::from_str(target).ok()?;
            RData::CNAME(rdata::CNAME(name.append_domain(&Name::root()).ok()?))
        }
        Data::Txt(text) => RData::TXT(rdata::TXT::new(vec![text.clone()])),
    };
    Some(Record::from_rdata(name.clone(), TTL, rdata))
}
