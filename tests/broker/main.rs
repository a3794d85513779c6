//! The broker on real sockets, driven by raw packets and by unmodified Gearman tools.

#[cfg(test)]
mod durable;
#[cfg(test)]
mod foreign;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod queue;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod sockets;
