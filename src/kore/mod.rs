//! The vendor, behind one door: everything that knows how Kore.ai is spoken to.
//!
//! [`Vendor`](crate::source::Vendor) and [`FileHost`](crate::source::FileHost) are what the journey sees. What stands behind:
//! `client` asks the recordings API (v2), each request under a fresh token (`token`) and within the account's budget
//! (`budget`); `wire` reads the body of an answer and `reply` says what all of it means. `download` fetches files from
//! signed URLs with nothing of the API's authority: `route` goes only where the settings allow (`resolver` keeps
//! it among public addresses), `line` asks and sees what comes beyond the answer, `resume` goes on where a body broke
//! off, and `pace` tells when it has. What strangers say reaches an error only through `words`, and what the HTTP
//! libraries say only through `faults`.
//!
//! Facts about Kore are in each module's docs with how sure they are: documented, observed in public code, inferred.
//! Its documentation leaves much open, so the code leans on the documented and survives the rest being wrong.

pub mod budget;
pub mod client;
mod download;
mod faults;
mod headers;
mod line;
mod pace;
pub mod probe;
mod reply;
mod resolver;
mod resume;
mod route;
#[cfg(test)]
mod testing;
pub mod token;
mod wire;
