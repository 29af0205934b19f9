//! The dashboard in a terminal: it follows the log, and the arrow keys move it through time.

use crate::event;
use crate::history::History;
use crate::view::{self, Kind};
use anyhow::Result;
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers, read};
use crossterm::style::Stylize as _;
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode, size,
};
use crossterm::{execute, queue};
use futures::StreamExt;
use icecore_client::{Subscription, SubscriptionMessage, Timestamp};
use std::io::{self, Write as _, stdout};
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

/// Presses of an arrow key from one end of the slider to the other.
const STEPS: i64 = 200;

/// Steps of the keys that move by a page.
const PAGE: i64 = 10;

/// Drawings a second at most.
const FRAME: Duration = Duration::from_millis(100);

/// Shows the dashboard until somebody presses `q`.
pub(crate) async fn show(history: History, subscription: Subscription) -> Result<()> {
    let _screen = Screen::enter()?;
    let mut dashboard = Dashboard { history, at: None };
    dashboard.run(subscription, keys()).await
}

struct Dashboard {
    history: History,
    /// The moment that is shown; `None`: whatever is last.
    at: Option<Timestamp>,
}

impl Dashboard {
    async fn run(
        &mut self,
        mut subscription: Subscription,
        mut keys: mpsc::Receiver<Event>,
    ) -> Result<()> {
        let mut frames = interval(FRAME);
        frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_stale = true;
        loop {
            tokio::select! {
                message = subscription.next() => match message {
                    Some(message) => is_stale |= self.take(message?)?,
                    None => return Ok(()),
                },
                key = keys.recv() => match key {
                    Some(Event::Key(key)) if ends(key) => return Ok(()),
                    Some(Event::Key(key)) => {
                        self.slide(key.code);
                        is_stale = true;
                    }
                    // The window has another size.
                    Some(_) => is_stale = true,
                    None => return Ok(()),
                },
                _ = frames.tick(), if is_stale => {
                    self.draw()?;
                    is_stale = false;
                }
            }
        }
    }

    /// Takes over what has happened meanwhile, and says whether anything has.
    fn take(&mut self, message: SubscriptionMessage) -> Result<bool> {
        let SubscriptionMessage::Events(events) = message else {
            return Ok(false);
        };
        for event in &events {
            self.history.extend(event::step(event)?);
        }
        Ok(true)
    }

    fn slide(&mut self, key: KeyCode) {
        let (first, last) = (self.history.first_time(), self.history.last_time());
        let steps = match key {
            KeyCode::Left => -1,
            KeyCode::Right => 1,
            KeyCode::PageUp => -PAGE,
            KeyCode::PageDown => PAGE,
            KeyCode::Home => return self.at = Some(first),
            KeyCode::End => return self.at = None,
            _ => return,
        };
        let step = (last.nanos() - first.nanos()) / STEPS;
        let at = self.at.unwrap_or(last).plus_nanos(steps * step).max(first);
        // Whoever moves to the end stays there.
        self.at = (at < last).then_some(at);
    }

    fn draw(&mut self) -> Result<()> {
        let (columns, rows) = size()?;
        let at = self.at.unwrap_or_else(|| self.history.last_time());
        let width = usize::from(columns).max(60);
        let mut lines = view::dashboard(&mut self.history, at, self.at.is_none(), width);
        let help = "arrows, PageUp, PageDown: through time   Home: begin   End: live   q: quit";
        lines.push(view::Line {
            text: help.into(),
            kind: Kind::Row,
        });
        let mut out = io::BufWriter::new(stdout());
        for (row, line) in (0..rows).zip(&lines) {
            let text: String = line.text.chars().take(usize::from(columns)).collect();
            let text = match line.kind {
                Kind::Title => text.bold().white(),
                Kind::Heading => text.bold().cyan(),
                Kind::Row => text.stylize(),
                Kind::Slider => text.yellow(),
            };
            queue!(out, MoveTo(0, row), Clear(ClearType::UntilNewLine))?;
            write!(out, "{text}")?;
        }
        queue!(out, Clear(ClearType::FromCursorDown))?;
        Ok(out.flush()?)
    }
}

fn ends(key: KeyEvent) -> bool {
    let is_ctrl_c = key.code == KeyCode::Char('c') && key.modifiers == KeyModifiers::CONTROL;
    is_ctrl_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
}

/// What is typed. Reading a terminal blocks, so a thread does it.
fn keys() -> mpsc::Receiver<Event> {
    let (send, keys) = mpsc::channel(16);
    thread::spawn(move || {
        while let Ok(event) = read() {
            if send.blocking_send(event).is_err() {
                return;
            }
        }
    });
    keys
}

/// A screen of our own. The terminal is as it was when this is dropped.
struct Screen;

impl Screen {
    fn enter() -> Result<Self> {
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen, Hide)?;
        Ok(Self)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is nobody left to tell when the terminal is gone.
        let _ = execute!(stdout(), Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}
