//! The messages of OTLP 1 that a push of metrics needs, as the protobuf of
//! `opentelemetry/proto/collector/metrics/v1` defines them. Fields that this program neither writes
//! nor reads are left out; protobuf skips them. The protocol is stable, so nothing is generated.

use bytes::{Buf, BufMut};
use prost::encoding::wire_type::WireType;
use prost::encoding::{self, DecodeContext};
use prost::{DecodeError, Message};

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`
pub(super) const CUMULATIVE: i32 = 2;
/// `DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK`: the series has ended.
pub(super) const NO_RECORDED_VALUE: u32 = 1;

/// A kind of field that is left out where it has the default value, as in proto3.
macro_rules! scalar {
    ($($kind:ident: $type:ty, $is_default:expr;)*) => {$(
        mod $kind {
            use super::*;

            pub(super) fn encode(tag: u32, value: &$type, buf: &mut impl BufMut) {
                if !$is_default(value) {
                    encoding::$kind::encode(tag, value, buf);
                }
            }

            pub(super) fn encoded_len(tag: u32, value: &$type) -> usize {
                if $is_default(value) { 0 } else { encoding::$kind::encoded_len(tag, value) }
            }

            pub(super) use encoding::$kind::merge;
        }
    )*};
}

scalar! {
    string: String, String::is_empty;
    bool: bool, |value: &bool| !value;
    int32: i32, |value: &i32| *value == 0;
    int64: i64, |value: &i64| *value == 0;
    uint32: u32, |value: &u32| *value == 0;
    fixed64: u64, |value: &u64| *value == 0;
}

/// A kind of field that tells a missing value from the default one.
macro_rules! optional {
    ($($name:ident = $kind:ident: $type:ty;)*) => {$(
        mod $name {
            use super::*;

            pub(super) fn encode(tag: u32, value: &Option<$type>, buf: &mut impl BufMut) {
                if let Some(value) = value {
                    encoding::$kind::encode(tag, value, buf);
                }
            }

            pub(super) fn encoded_len(tag: u32, value: &Option<$type>) -> usize {
                value.as_ref().map_or(0, |value| encoding::$kind::encoded_len(tag, value))
            }

            pub(super) fn merge(
                wire_type: WireType,
                value: &mut Option<$type>,
                buf: &mut impl Buf,
                ctx: DecodeContext,
            ) -> Result<(), DecodeError> {
                encoding::$kind::merge(wire_type, value.get_or_insert_default(), buf, ctx)
            }
        }
    )*};
}

optional! {
    optional_double = double: f64;
    optional_sfixed64 = sfixed64: i64;
    optional_string = string: String;
}

/// A list of numbers, packed.
macro_rules! packed {
    ($($name:ident = $kind:ident: $type:ty;)*) => {$(
        mod $name {
            pub(super) use super::encoding::$kind::{
                encode_packed as encode, encoded_len_packed as encoded_len, merge_repeated as merge,
            };
        }
    )*};
}

packed! {
    packed_fixed64 = fixed64: u64;
    packed_double = double: f64;
}

mod repeated_message {
    pub(super) use super::encoding::message::{
        encode_repeated as encode, encoded_len_repeated as encoded_len, merge_repeated as merge,
    };
}

mod optional_message {
    use super::*;

    pub(super) fn encode<M: Message>(tag: u32, value: &Option<M>, buf: &mut impl BufMut) {
        if let Some(value) = value {
            encoding::message::encode(tag, value, buf);
        }
    }

    pub(super) fn encoded_len<M: Message>(tag: u32, value: &Option<M>) -> usize {
        value.as_ref().map_or(0, |value| encoding::message::encoded_len(tag, value))
    }

    pub(super) fn merge<M: Message + Default>(
        wire_type: WireType,
        value: &mut Option<M>,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        encoding::message::merge(wire_type, value.get_or_insert_default(), buf, ctx)
    }
}

/// Defines a message: its fields with their kinds and tags.
macro_rules! message {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty = $kind:ident($tag:literal),)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Default)]
        pub(super) struct $name {
            $(pub(super) $field: $type,)*
        }

        impl Message for $name {
            fn encode_raw(&self, buf: &mut impl BufMut) {
                $($kind::encode($tag, &self.$field, buf);)*
            }

            fn merge_field(
                &mut self,
                tag: u32,
                wire_type: WireType,
                buf: &mut impl Buf,
                ctx: DecodeContext,
            ) -> Result<(), DecodeError> {
                match tag {
                    $($tag => $kind::merge(wire_type, &mut self.$field, buf, ctx),)*
                    _ => encoding::skip_field(wire_type, tag, buf, ctx),
                }
            }

            fn encoded_len(&self) -> usize {
                0 $(+ $kind::encoded_len($tag, &self.$field))*
            }

            fn clear(&mut self) {
                *self = Self::default();
            }
        }
    )*};
}

message! {
    ExportMetricsRequest {
        resource_metrics: Vec<ResourceMetrics> = repeated_message(1),
    }
    ExportMetricsResponse {
        partial_success: Option<PartialSuccess> = optional_message(1),
    }
    PartialSuccess {
        rejected_data_points: i64 = int64(1),
        error_message: String = string(2),
    }
    /// `google.rpc.Status`, the body of an error.
    RpcStatus {
        code: i32 = int32(1),
        message: String = string(2),
    }
    ResourceMetrics {
        resource: Option<OtlpResource> = optional_message(1),
        scope_metrics: Vec<ScopeMetrics> = repeated_message(2),
    }
    OtlpResource {
        attributes: Vec<KeyValue> = repeated_message(1),
    }
    ScopeMetrics {
        scope: Option<InstrumentationScope> = optional_message(1),
        metrics: Vec<OtlpMetric> = repeated_message(2),
    }
    InstrumentationScope {
        name: String = string(1),
    }
    /// One of `gauge`, `sum` and `histogram` is there.
    OtlpMetric {
        name: String = string(1),
        description: String = string(2),
        unit: String = string(3),
        gauge: Option<OtlpGauge> = optional_message(5),
        sum: Option<OtlpSum> = optional_message(7),
        histogram: Option<OtlpHistogram> = optional_message(9),
    }
    OtlpGauge {
        data_points: Vec<NumberDataPoint> = repeated_message(1),
    }
    OtlpSum {
        data_points: Vec<NumberDataPoint> = repeated_message(1),
        aggregation_temporality: i32 = int32(2),
        is_monotonic: bool = bool(3),
    }
    OtlpHistogram {
        data_points: Vec<HistogramDataPoint> = repeated_message(1),
        aggregation_temporality: i32 = int32(2),
    }
    /// At most one of `as_double` and `as_int` is there.
    NumberDataPoint {
        start_time_unix_nano: u64 = fixed64(2),
        time_unix_nano: u64 = fixed64(3),
        as_double: Option<f64> = optional_double(4),
        as_int: Option<i64> = optional_sfixed64(6),
        attributes: Vec<KeyValue> = repeated_message(7),
        flags: u32 = uint32(8),
    }
    HistogramDataPoint {
        start_time_unix_nano: u64 = fixed64(2),
        time_unix_nano: u64 = fixed64(3),
        count: u64 = fixed64(4),
        sum: Option<f64> = optional_double(5),
        bucket_counts: Vec<u64> = packed_fixed64(6),
        explicit_bounds: Vec<f64> = packed_double(7),
        attributes: Vec<KeyValue> = repeated_message(9),
        flags: u32 = uint32(10),
    }
    KeyValue {
        key: String = string(1),
        value: Option<AttributeValue> = optional_message(2),
    }
    AttributeValue {
        string_value: Option<String> = optional_string(1),
    }
}

impl KeyValue {
    /// An attribute with a text.
    pub(super) fn new(key: &str, value: &str) -> KeyValue {
        let value = AttributeValue { string_value: Some(value.to_owned()) };
        KeyValue { key: key.to_owned(), value: Some(value) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field by field by hand: the key is the tag and the wire type, the numbers are little-endian.
    #[test]
    fn a_point_has_the_bytes_of_the_protocol() {
        let point = NumberDataPoint {
            start_time_unix_nano: 1,
            time_unix_nano: 2,
            as_int: Some(0),
            attributes: vec![KeyValue::new("k", "v")],
            ..NumberDataPoint::default()
        };
        let expected = [
            &[0x11, 1, 0, 0, 0, 0, 0, 0, 0][..],
            &[0x19, 2, 0, 0, 0, 0, 0, 0, 0],
            &[0x31, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0x3a, 8, 0x0a, 1, b'k', 0x12, 3, 0x0a, 1, b'v'],
        ];
        assert_eq!(point.encode_to_vec(), expected.concat());
    }

    #[test]
    fn a_request_can_be_read_back() {
        let histogram = HistogramDataPoint {
            time_unix_nano: 5,
            count: 3,
            sum: Some(0.0),
            bucket_counts: vec![1, 0, 2],
            explicit_bounds: vec![0.5, 1.0],
            flags: NO_RECORDED_VALUE,
            ..HistogramDataPoint::default()
        };
        let metric = OtlpMetric {
            name: "a_seconds".to_owned(),
            unit: "s".to_owned(),
            histogram: Some(OtlpHistogram {
                data_points: vec![histogram],
                aggregation_temporality: CUMULATIVE,
            }),
            ..OtlpMetric::default()
        };
        let scope_metrics =
            ScopeMetrics { scope: Some(InstrumentationScope::default()), metrics: vec![metric] };
        let resource = OtlpResource { attributes: vec![KeyValue::new("service.name", "")] };
        let resource_metrics =
            ResourceMetrics { resource: Some(resource), scope_metrics: vec![scope_metrics] };
        let request = ExportMetricsRequest { resource_metrics: vec![resource_metrics] };
        let bytes = request.encode_to_vec();
        assert_eq!(bytes.len(), request.encoded_len());
        assert_eq!(ExportMetricsRequest::decode(&*bytes).unwrap(), request);
    }

    #[test]
    fn an_unknown_field_is_skipped() {
        let bytes = [0x0a, 4, 0x08, 9, 0x7a, 0, 0x12, 2, b'h', b'i'];
        let response = ExportMetricsResponse::decode(&bytes[..]).unwrap();
        assert_eq!(response.partial_success.unwrap().rejected_data_points, 9);
    }
}
