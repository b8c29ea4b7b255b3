//! Every format, every level this CPU has, against the oracle.
