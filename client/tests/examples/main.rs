//! The examples, run as their users run them: the programs that cargo built beside these tests, against
//! a server of their own. Their domains bring tests without a store, which run here too.

#![allow(clippy::print_stdout, reason = "the programs' own files are in here")]

mod bank;
mod catalog;
mod loans;
mod program;
mod shop;
