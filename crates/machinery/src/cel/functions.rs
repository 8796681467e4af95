//! The functions of the language itself, and the way to those of the libraries.

use jiff::{Timestamp, ToSpan};

use super::ast::Binary;
use super::value::{List, Opaque, Text, Value};
use super::{Budget, EvalError, format, lists, net, quantity, semver, strings, time, url};

type Outcome<'a> = Result<Value<'a>, EvalError>;

fn overflow() -> EvalError {
    EvalError::new("integer overflow")
}

fn conversion(value: &Value<'_>, to: &str) -> EvalError {
    EvalError::new(format!("type conversion error from '{}' to '{to}'", value.type_name()))
}

// === Operators ===

pub(super) fn negate<'a>(value: &Value<'a>) -> Outcome<'a> {
    match value {
        Value::Int(value) => value.checked_neg().map(Value::Int).ok_or_else(overflow),
        Value::Double(value) => Ok(Value::Double(-value)),
        _ => Err(EvalError::no_overload()),
    }
}

pub(super) fn arithmetic<'a>(op: Binary, left: &Value<'a>, right: &Value<'a>) -> Outcome<'a> {
    use Value::{Bytes, Double, Duration, Int, Text as Str, Timestamp, Uint};
    match (left, right) {
        (Int(a), Int(b)) => {
            let done = match op {
                Binary::Add => a.checked_add(*b),
                Binary::Subtract => a.checked_sub(*b),
                Binary::Multiply => a.checked_mul(*b),
                Binary::Divide | Binary::Remainder if *b == 0 => return Err(by_zero(op)),
                Binary::Divide => a.checked_div(*b),
                _ => a.checked_rem(*b),
            };
            done.map(Int).ok_or_else(overflow)
        }
        (Uint(a), Uint(b)) => {
            let done = match op {
                Binary::Add => a.checked_add(*b),
                Binary::Subtract => a.checked_sub(*b),
                Binary::Multiply => a.checked_mul(*b),
                Binary::Divide | Binary::Remainder if *b == 0 => return Err(by_zero(op)),
                Binary::Divide => a.checked_div(*b),
                _ => a.checked_rem(*b),
            };
            done.map(Uint).ok_or_else(|| EvalError::new("unsigned integer overflow"))
        }
        (Double(a), Double(b)) => match op {
            Binary::Add => Ok(Double(a + b)),
            Binary::Subtract => Ok(Double(a - b)),
            Binary::Multiply => Ok(Double(a * b)),
            Binary::Divide => Ok(Double(a / b)),
            _ => Err(EvalError::no_overload()),
        },
        (Str(a), Str(b)) if op == Binary::Add => Ok(format!("{}{}", a.as_str(), b.as_str()).into()),
        (Bytes(a), Bytes(b)) if op == Binary::Add => Ok(Bytes([&**a, &**b].concat().into())),
        (Value::List(a), Value::List(b)) if op == Binary::Add => Ok(a.plus(b)),
        (Duration(a), Duration(b)) => {
            let done = match op {
                Binary::Add => a.checked_add(*b),
                Binary::Subtract => a.checked_sub(*b),
                _ => return Err(EvalError::no_overload()),
            };
            done.map(Duration).ok_or_else(|| EvalError::new("duration overflow"))
        }
        (Timestamp(time), Duration(by)) | (Duration(by), Timestamp(time)) if op == Binary::Add => {
            moved(*time, *by)
        }
        (Timestamp(time), Duration(by)) if op == Binary::Subtract => {
            moved(*time, by.checked_neg().ok_or_else(overflow)?)
        }
        (Timestamp(a), Timestamp(b)) if op == Binary::Subtract => {
            let nanos = a.as_nanosecond() - b.as_nanosecond();
            i64::try_from(nanos).map(Duration).map_err(|_| EvalError::new("timestamp overflow"))
        }
        _ => Err(EvalError::no_overload()),
    }
}

fn by_zero(op: Binary) -> EvalError {
    EvalError::new(if op == Binary::Divide { "division by zero" } else { "modulus by zero" })
}

fn moved<'a>(time: Timestamp, nanos: i64) -> Outcome<'a> {
    time.checked_add(nanos.nanoseconds())
        .map(Value::Timestamp)
        .map_err(|_| EvalError::new("timestamp overflow"))
}

// === Functions without a target ===

pub(super) fn global<'a>(name: &str, args: &[Value<'a>]) -> Outcome<'a> {
    let [arg, rest @ ..] = args else { return Err(EvalError::no_overload()) };
    if name == "semver" || name == "isSemver" {
        return semver::make(name, args);
    }
    if !rest.is_empty() {
        return Err(EvalError::no_overload());
    }
    match name {
        "size" => size(arg),
        "dyn" => Ok(arg.clone()),
        "type" => Ok(Value::Type(arg.type_name())),
        "bool" => match arg {
            Value::Bool(_) => Ok(arg.clone()),
            Value::Text(text) => match text.as_str() {
                "true" | "True" | "TRUE" | "t" | "1" => Ok(true.into()),
                "false" | "False" | "FALSE" | "f" | "0" => Ok(false.into()),
                _ => Err(conversion(arg, "bool")),
            },
            _ => Err(EvalError::no_overload()),
        },
        "int" => to_int(arg),
        "uint" => to_uint(arg),
        "double" => match arg {
            Value::Double(_) => Ok(arg.clone()),
            Value::Int(value) => Ok(Value::Double(*value as f64)),
            Value::Uint(value) => Ok(Value::Double(*value as f64)),
            Value::Text(text) => {
                text.as_str().parse().map(Value::Double).map_err(|_| conversion(arg, "double"))
            }
            _ => Err(EvalError::no_overload()),
        },
        "string" => to_text(arg),
        "bytes" => match arg {
            Value::Bytes(_) => Ok(arg.clone()),
            Value::Text(text) => Ok(Value::Bytes(text.as_str().as_bytes().into())),
            _ => Err(EvalError::no_overload()),
        },
        "duration" => match arg {
            Value::Duration(_) => Ok(arg.clone()),
            Value::Text(text) => time::parse_duration(text.as_str())
                .map(Value::Duration)
                .ok_or_else(|| conversion(arg, "google.protobuf.Duration")),
            _ => Err(EvalError::no_overload()),
        },
        "timestamp" => match arg {
            Value::Timestamp(_) => Ok(arg.clone()),
            Value::Int(seconds) => Timestamp::from_second(*seconds)
                .map(Value::Timestamp)
                .map_err(|_| EvalError::new("timestamp overflow")),
            Value::Text(text) => text
                .as_str()
                .parse()
                .map(Value::Timestamp)
                .map_err(|_| conversion(arg, "google.protobuf.Timestamp")),
            _ => Err(EvalError::no_overload()),
        },
        "quantity" | "isQuantity" => quantity::make(name, arg),
        "ip" | "isIP" | "cidr" | "isCIDR" => net::make(name, arg),
        "url" | "isURL" => url::make(name, arg),
        _ => Err(EvalError::no_overload()),
    }
}

fn size<'a>(value: &Value<'a>) -> Outcome<'a> {
    match value {
        Value::Text(text) => Ok(text.as_str().chars().count().into()),
        Value::Bytes(_) | Value::List(_) | Value::Map(_) => Ok(value.weight().into()),
        _ => Err(EvalError::no_overload()),
    }
}

fn to_int<'a>(arg: &Value<'a>) -> Outcome<'a> {
    match arg {
        Value::Int(_) => Ok(arg.clone()),
        Value::Uint(value) => i64::try_from(*value).map(Value::Int).map_err(|_| overflow()),
        Value::Double(value) => {
            let inside = *value > i64::MIN as f64 && *value < i64::MAX as f64;
            if inside { Ok(Value::Int(*value as i64)) } else { Err(overflow()) }
        }
        Value::Text(text) => {
            text.as_str().parse().map(Value::Int).map_err(|_| conversion(arg, "int"))
        }
        Value::Timestamp(time) => Ok(Value::Int(time.as_second())),
        _ => Err(EvalError::no_overload()),
    }
}

fn to_uint<'a>(arg: &Value<'a>) -> Outcome<'a> {
    let overflow = || EvalError::new("unsigned integer overflow");
    match arg {
        Value::Uint(_) => Ok(arg.clone()),
        Value::Int(value) => u64::try_from(*value).map(Value::Uint).map_err(|_| overflow()),
        Value::Double(value) => {
            let inside = *value >= 0.0 && *value < u64::MAX as f64;
            if inside { Ok(Value::Uint(*value as u64)) } else { Err(overflow()) }
        }
        Value::Text(text) => {
            text.as_str().parse().map(Value::Uint).map_err(|_| conversion(arg, "uint"))
        }
        _ => Err(EvalError::no_overload()),
    }
}

fn to_text<'a>(arg: &Value<'a>) -> Outcome<'a> {
    Ok(match arg {
        Value::Text(_) => arg.clone(),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned().into(),
            Err(_) => {
                return Err(EvalError::new("invalid UTF-8 in bytes, cannot convert to string"));
            }
        },
        Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_) => {
            strings::plain(arg).into()
        }
        Value::Duration(nanos) => time::duration_text(*nanos).into(),
        Value::Timestamp(time) => time.to_string().into(),
        Value::Opaque(inner) => match inner.text() {
            Some(text) => text.into(),
            None => return Err(EvalError::no_overload()),
        },
        _ => return Err(EvalError::no_overload()),
    })
}

// === Functions with a name in front ===

pub(super) fn qualified<'a>(
    space: &str,
    name: &str,
    args: &[Value<'a>],
    budget: &mut Budget,
) -> Outcome<'a> {
    match space {
        "optional" => optional(name, args),
        "jsonpatch" => strings::escape_key(args),
        "sets" => lists::sets(name, args, budget),
        "lists" => lists::range(name, args, budget),
        "strings" => strings::quote(args),
        "ip" => net::is_canonical(args),
        "format" => format::make(name, args),
        _ => Err(EvalError::no_overload()),
    }
}

fn optional<'a>(name: &str, args: &[Value<'a>]) -> Outcome<'a> {
    match (name, args) {
        ("none", []) => Ok(Value::Optional(None)),
        ("of", [value]) => Ok(Value::Optional(Some(value.clone().into()))),
        ("ofNonZeroValue", [value]) => {
            let zero = match value {
                Value::Null => true,
                Value::Bool(value) => !value,
                Value::Int(value) => *value == 0,
                Value::Uint(value) => *value == 0,
                Value::Double(value) => *value == 0.0,
                Value::Duration(value) => *value == 0,
                Value::Text(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_) => {
                    value.weight() == 0
                }
                _ => false,
            };
            Ok(Value::Optional((!zero).then(|| value.clone().into())))
        }
        ("unwrap", [Value::List(list)]) => Ok(unwrap(list)),
        _ => Err(EvalError::no_overload()),
    }
}

fn unwrap<'a>(list: &List<'a>) -> Value<'a> {
    let values = list.iter().filter_map(|item| match item {
        Value::Optional(inner) => inner.map(|inner| Value::clone(&inner)),
        other => Some(other),
    });
    values.collect::<Vec<_>>().into()
}

// === Methods ===

pub(super) fn method<'a>(name: &str, args: &[Value<'a>], budget: &mut Budget) -> Outcome<'a> {
    let Some((target, rest)) = args.split_first() else { return Err(EvalError::no_overload()) };
    match (target, name, rest) {
        (_, "size", []) => size(target),
        (Value::Optional(inner), "hasValue", []) => Ok(inner.is_some().into()),
        (Value::Optional(inner), "value", []) => match inner {
            Some(inner) => Ok(Value::clone(inner)),
            None => Err(EvalError::new("optional.none() dereference")),
        },
        (Value::Text(text), ..) => strings::method(text.as_str(), name, rest, budget),
        (Value::List(list), "unwrapOpt", []) => Ok(unwrap(list)),
        (Value::List(list), ..) => lists::method(list, name, rest, budget),
        (Value::Timestamp(time), name, zone) => timestamp_part(*time, name, zone),
        (Value::Duration(nanos), name, []) => {
            let by = match name {
                "getHours" => 3_600_000_000_000,
                "getMinutes" => 60_000_000_000,
                "getSeconds" => 1_000_000_000,
                "getMilliseconds" => 1_000_000,
                _ => return Err(EvalError::no_overload()),
            };
            Ok(Value::Int(nanos / by))
        }
        (Value::Opaque(inner), name, rest) => {
            let inner: &dyn Opaque = &**inner;
            inner.call(name, rest).unwrap_or_else(|| Err(EvalError::no_overload()))
        }
        _ => Err(EvalError::no_overload()),
    }
}

fn timestamp_part<'a>(time: Timestamp, name: &str, zone: &[Value<'a>]) -> Outcome<'a> {
    let zone = match zone {
        [] => jiff::tz::TimeZone::UTC,
        [Value::Text(text)] => time::zone(text.as_str())
            .ok_or_else(|| EvalError::new(format!("unknown time zone {}", text.as_str())))?,
        _ => return Err(EvalError::no_overload()),
    };
    let at = time.to_zoned(zone);
    Ok(Value::Int(match name {
        "getFullYear" => at.year().into(),
        "getMonth" => i64::from(at.month()) - 1,
        "getDate" => at.day().into(),
        "getDayOfMonth" => i64::from(at.day()) - 1,
        "getDayOfWeek" => at.weekday().to_sunday_zero_offset().into(),
        "getDayOfYear" => i64::from(at.day_of_year()) - 1,
        "getHours" => at.hour().into(),
        "getMinutes" => at.minute().into(),
        "getSeconds" => at.second().into(),
        "getMilliseconds" => at.millisecond().into(),
        _ => return Err(EvalError::no_overload()),
    }))
}

/// The text of an argument.
pub(super) fn text<'v>(value: &'v Value<'_>) -> Result<&'v str, EvalError> {
    match value {
        Value::Text(Text::Ref(text)) => Ok(text),
        Value::Text(Text::Own(text)) => Ok(text),
        _ => Err(EvalError::no_overload()),
    }
}
