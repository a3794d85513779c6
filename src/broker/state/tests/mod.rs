//! The rules, each as a script of what is sent and what comes back (see `script`), and all of them
//! at once under random operations (`random`), watched from outside by a `model`.

mod admin;
mod consistency;
mod contents;
mod crews;
mod dead;
mod deaths;
mod delayed;
mod dispatch;
mod durability;
mod habits;
mod holds;
mod model;
mod random;
mod reports;
mod rules;
mod schedules;
mod script;
mod speed;
mod submitting;
mod waking;

pub(in crate::broker) use script::settings;
