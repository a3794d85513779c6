//! Sockets: reads connections, feeds the state, groups the commits, writes what the state sends.
