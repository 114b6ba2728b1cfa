//! The broker client against a real Mosquitto, and against a scripted broker for what Mosquitto never does.
#![forbid(unsafe_code)]

mod gateway;
mod mosquitto;
mod publisher;
mod real;
mod scripted;
mod wrong;
