//! Tables of what a pool does, and random runs against a small world.

mod answers;
mod random;
mod runs;
mod table;
mod trial;
mod upkeep;
mod world;
