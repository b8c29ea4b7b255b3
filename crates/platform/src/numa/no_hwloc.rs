//! `hwloc/` for builds without it (feature `numa` off, a platform we have no jumps for): the same names, nothing found.
use super::{Error, Topology};
use crate::Result;

pub fn available() -> bool {
    false
}
pub fn this_machine() -> Result<Topology> {
    Err(Error::unsupported("this build has no hwloc"))
}
pub fn from_xml(_: &std::path::Path) -> Result<Topology> {
    this_machine()
}
pub fn from_synthetic(_: &str) -> Result<Topology> {
    this_machine()
}
