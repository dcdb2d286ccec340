//! Words to systemd: ready, alive, status, over `$NOTIFY_SOCKET`. Without that variable nothing is said.
use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Connection to the service manager that started us, if one did.
#[derive(Debug)]
pub struct Notify {
    manager: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// Reads `$NOTIFY_SOCKET`, `$WATCHDOG_USEC` and `$WATCHDOG_PID`.
    ///
    /// # Errors
    /// When the variable is set but names no socket that can be used.
    pub fn from_env() -> std::io::Result<Self> {
        let for_us =
            std::env::var("WATCHDOG_PID").map_or(true, |pid| pid.parse() == Ok(std::process::id()));
        let watchdog = std::env::var("WATCHDOG_USEC")
            .ok()
            .filter(|_| for_us)
            .and_then(|text| text.parse().ok())
            .filter(|us| *us > 0)
            .map(Duration::from_micros);
        Self::to(std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()), watchdog)
    }

    /// A connection to the socket called `name` (with `@` in front: an abstract one), if any, whose manager
    /// allows `watchdog` between two signs of life.
    ///
    /// # Errors
    /// When `name` names no socket that can be used.
    pub fn to(name: Option<OsString>, watchdog: Option<Duration>) -> std::io::Result<Self> {
        let Some(name) = name else { return Ok(Self { manager: None, watchdog }) };
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name)?,
            None => SocketAddr::from_pathname(&name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { manager: Some((socket, address)), watchdog })
    }

    /// How often `alive` must be said: half of what the manager allows. `None` when it does not watch.
    #[must_use]
    pub fn alive_every(&self) -> Option<Duration> {
        self.watchdog.map(|allowed| allowed / 2)
    }

    /// The service does its work from now on.
    pub fn ready(&self) {
        self.say("READY=1");
    }

    /// The service does its work from now on, and is dead when it is silent for `silence_max` from here
    /// on, whatever the unit allowed for its start.
    pub fn ready_and_watched(&self, silence_max: Duration) {
        match self.watchdog {
            Some(_) => self.say(&format!("READY=1\nWATCHDOG_USEC={}", silence_max.as_micros())),
            None => self.ready(),
        }
    }

    /// The service is alive.
    pub fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    /// The service is ending.
    pub fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// One line for people; line ends in it become spaces.
    pub fn status(&self, text: &str) {
        self.say(&format!("STATUS={}", text.replace(['\n', '\r'], " ")));
    }

    fn say(&self, text: &str) {
        if let Some((socket, address)) = &self.manager {
            // A manager that does not listen must not hold the service up; it will ask again.
            let _unheard = socket.send_to_addr(text.as_bytes(), address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let count = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    }

    #[test]
    fn an_abstract_socket_hears_ready_alive_and_one_status_line() {
        let name = format!("kadenz-notify-{}", std::process::id());
        let manager =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes()).unwrap())
                .unwrap();
        let watched = Some(Duration::from_secs(2));
        let notify = Notify::to(Some(format!("@{name}").into()), watched).unwrap();
        notify.ready();
        notify.alive();
        notify.status("two\nlines");
        assert_eq!(heard(&manager), "READY=1");
        assert_eq!(heard(&manager), "WATCHDOG=1");
        assert_eq!(heard(&manager), "STATUS=two lines");
        assert_eq!(notify.alive_every(), Some(Duration::from_secs(1)));
        notify.ready_and_watched(Duration::from_millis(200));
        assert_eq!(heard(&manager), "READY=1\nWATCHDOG_USEC=200000");
        let unwatched = Notify::to(Some(format!("@{name}").into()), None).unwrap();
        unwatched.ready_and_watched(Duration::from_millis(200));
        assert_eq!(heard(&manager), "READY=1");
    }

    #[test]
    fn a_manager_that_is_gone_does_no_harm() {
        let notify = Notify::to(Some("/nonexistent/notify".into()), None).unwrap();
        notify.ready();
        assert!(Notify::to(None, None).unwrap().alive_every().is_none());
    }
}
