//! Lasting MQTT sessions.
