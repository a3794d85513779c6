//! Making records durable, reading them back, and the lock on the directory they live in.
