//! The kinds of the API: typed views, the object as it is kept in memory, quantities, `Status`, schemas. No I/O, no clock.
