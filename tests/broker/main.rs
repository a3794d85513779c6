//! The broker on real sockets, driven by raw packets and by unmodified Gearman tools.

#[cfg(test)]
mod deep;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod durable;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod foreign;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod power;
#[cfg(test)]
mod queue;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod sockets;
