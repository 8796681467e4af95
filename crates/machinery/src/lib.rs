//! Behaviour on objects: the resource table, defaults, validation, patches, selectors, conversion, protobuf, tables. No I/O, no clock.
