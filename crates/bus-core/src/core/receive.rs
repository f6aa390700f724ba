//! Queues, as their consumers see them: receive, delete, visibility, long polls.
//!
//! A receive is answered as soon as its record is appended: if a crash forgets it, a message comes a little
//! early, which at-least-once allows. A delete is answered when it is durable. Messages whose own record is
//! not yet durable are not handed out. Source: sqs-api.md 2.6 to 2.10, 4, 5.

use super::{Answer, Append, Core, Effect, Refusal, RequestNumber, Timer};
use crate::limits::{
    IN_FLIGHT_MESSAGES_MAX, RECEIVE_BYTES_MAX, RECEIVE_TRIES_MAX, RECEIVE_TRY_MS,
    VISIBILITY_SECONDS_MAX, WAITERS_MAX,
};
use crate::record::{Key, Place, Record};
use crate::state::queues::Seat;
use crate::state::{Now, Version};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// Messages that one sweep of a queue drops at most; the next sweep goes on.
const EXPIRE_MOST: usize = 10_000;

/// A request for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receive {
    /// The queue's number.
    pub queue: u32,
    /// 1 to 10.
    pub most: usize,
    /// How long to wait for one, in milliseconds; 0 = not at all.
    pub wait_ms: u64,
    /// Seconds to hide them; `None` = the queue's own.
    pub visibility_seconds: Option<u64>,
    /// Hash of what names this try: the same again gets the same messages.
    pub try_key: Option<u128>,
}

/// What a receive gives for one message, to delete it or change its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle {
    /// The queue's number.
    pub queue: u32,
    /// Which message.
    pub message: Key,
    /// Which receive of it.
    pub stamp: u64,
}

/// A message handed out. Its body is read at `place`.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// What deletes it.
    pub handle: Handle,
    /// The record that holds it.
    pub place: Place,
    /// The target that it was delivered for, if it was: its input is shaped at each read.
    pub version: Option<Arc<Version>>,
    /// Receives so far, this one included.
    pub receives: u32,
    /// First receive, epoch milliseconds.
    pub first_ms: i64,
    /// Name of the queue that it was moved from.
    pub source: Option<Box<str>>,
}

/// Why a handle does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandleRefusal {
    /// Of another queue, or of an earlier one of this name.
    Foreign,
    /// The message is gone, or was received again since.
    Unavailable,
    /// More than twelve hours in all.
    TooLong,
    /// The journal has no room.
    Full,
}

#[derive(Debug)]
struct Waiter {
    request: RequestNumber,
    deadline: u64,
    receive: Receive,
}

#[derive(Debug, Clone)]
struct Try {
    messages: Vec<Handle>,
    at: u64,
}

/// Receives that wait, and the answers of recent ones.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    by_queue: BTreeMap<u32, VecDeque<Waiter>>,
    queue_of: HashMap<RequestNumber, u32>,
    deadlines: BTreeSet<(u64, RequestNumber)>,
    tries: HashMap<u128, Try>,
    try_order: VecDeque<u128>,
}

impl Waiters {
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    fn add(&mut self, waiter: Waiter) {
        self.queue_of.insert(waiter.request, waiter.receive.queue);
        self.deadlines.insert((waiter.deadline, waiter.request));
        self.by_queue
            .entry(waiter.receive.queue)
            .or_default()
            .push_back(waiter);
    }

    pub(super) fn remove(&mut self, request: RequestNumber) {
        let Some(queue) = self.queue_of.remove(&request) else {
            return;
        };
        let waiters = self
            .by_queue
            .get_mut(&queue)
            .expect("a waiter stands at its queue");
        if let Some(at) = waiters.iter().position(|w| w.request == request) {
            let waiter = waiters.remove(at).expect("found above");
            self.deadlines.remove(&(waiter.deadline, request));
        }
        if waiters.is_empty() {
            self.by_queue.remove(&queue);
        }
    }

    pub(super) fn drain(&mut self) -> Vec<RequestNumber> {
        let requests: Vec<_> = self.queue_of.keys().copied().collect();
        for request in &requests {
            self.remove(*request);
        }
        requests
    }

    fn first(&self, queue: u32) -> Option<(RequestNumber, Receive)> {
        let waiter = self.by_queue.get(&queue)?.front()?;
        Some((waiter.request, waiter.receive.clone()))
    }

    fn remember(&mut self, key: u128, messages: Vec<Handle>, at: u64) {
        if self.tries.insert(key, Try { messages, at }).is_none() {
            self.try_order.push_back(key);
        }
        while self.try_order.len() > RECEIVE_TRIES_MAX {
            if let Some(oldest) = self.try_order.pop_front() {
                self.tries.remove(&oldest);
            }
        }
    }
}

impl Core {
    pub(super) fn receive(
        &mut self,
        now: Now,
        request: RequestNumber,
        receive: Receive,
        journal: &mut dyn Append,
    ) {
        if self.state.queue_by_number(receive.queue).is_none() {
            return self.refuse(request, Refusal::NoQueue);
        }
        if let Some(given) = self.given_before(now, &receive, journal) {
            return self.give(now, request, given);
        }
        match self.take_messages(now, &receive, journal) {
            Err(refusal) => self.refuse(request, refusal),
            Ok(given) if given.is_empty() && receive.wait_ms > 0 => {
                if WAITERS_MAX <= self.waiters.queue_of.len() {
                    return self.refuse(request, Refusal::TooManyWaiters);
                }
                let deadline = now.running_ms + receive.wait_ms;
                self.watch(receive.queue, now);
                self.waiters.add(Waiter {
                    request,
                    deadline,
                    receive,
                });
            }
            Ok(given) => self.give(now, request, given),
        }
    }

    /// Sets the timer at which something hidden in a queue becomes visible.
    fn watch(&mut self, queue: u32, now: Now) {
        if let Some(at) = self
            .state
            .queue_by_number(queue)
            .and_then(crate::state::queues::QueueState::next_shown)
        {
            self.set_timer(Timer::Queue(queue), at.max(now.running_ms + 1));
        }
    }

    fn give(&mut self, now: Now, request: RequestNumber, given: Vec<Given>) {
        let answer = Answer::Messages(given);
        if now.running_ms < self.unclean_until {
            // After a crash: whoever kills the server by being received must be counted first.
            self.answer(request, answer);
        } else {
            self.out.push(Effect::Answer(request, answer));
        }
    }

    /// The messages of an earlier try of the same receive, if every one is still as that left it.
    fn given_before(
        &mut self,
        now: Now,
        receive: &Receive,
        journal: &mut dyn Append,
    ) -> Option<Vec<Given>> {
        let earlier = self.waiters.tries.get(&receive.try_key?)?.clone();
        if RECEIVE_TRY_MS < now.running_ms.saturating_sub(earlier.at) || earlier.messages.is_empty()
        {
            return None;
        }
        let queue = self.state.queue_by_number(receive.queue)?;
        let unchanged = earlier.messages.iter().all(|handle| {
            queue.get(handle.message).is_some_and(|m| {
                matches!(m.seat(), Seat::InFlight(until) if until > now.running_ms)
                    && m.touched.as_ref().is_some_and(|t| t.stamp == handle.stamp)
            })
        });
        if !unchanged || earlier.messages[0].queue != receive.queue {
            return None;
        }
        let seconds = receive
            .visibility_seconds
            .unwrap_or(queue.document.visibility_seconds());
        let visible_ms = now.wall_ms + (seconds * 1000).cast_signed();
        let again = |h: &Handle| {
            (
                None,
                Record::Visibility {
                    queue: h.queue,
                    message: h.message,
                    visible_ms,
                },
            )
        };
        let records: Vec<_> = earlier.messages.iter().map(again).collect();
        self.record(now, &records, true, journal).ok()?;
        earlier
            .messages
            .iter()
            .map(|handle| self.given(*handle))
            .collect()
    }

    fn given(&self, handle: Handle) -> Option<Given> {
        let stored = self
            .state
            .queue_by_number(handle.queue)?
            .get(handle.message)?;
        let touched = stored.touched.as_ref()?;
        Some(Given {
            handle,
            place: stored.place,
            version: self.state.version(stored.version).cloned(),
            receives: touched.receives,
            first_ms: touched.first_ms,
            source: touched.source.clone(),
        })
    }

    fn take_messages(
        &mut self,
        now: Now,
        receive: &Receive,
        journal: &mut dyn Append,
    ) -> Result<Vec<Given>, Refusal> {
        let synced = self.synced;
        let number = receive.queue;
        let queue = self.state.queues.get_mut(&number).ok_or(Refusal::NoQueue)?;
        queue.show(now.running_ms);
        let queue = &self.state.queues[&number];
        let dead_letters = queue.redrive().and_then(|redrive| {
            let to = self.state.queue(&redrive.queue)?;
            let source = self.state.home().queue_arn(queue.document.name.as_str());
            let takes = !to.is_full() && super::control::allows_source(&to.document, &source);
            takes.then_some((to.number, redrive.receives_max))
        });
        let (mut taken, mut moved, mut expired) = (Vec::new(), Vec::new(), Vec::new());
        let mut bytes = 0;
        for key in queue.ready() {
            if taken.len() == receive.most || moved.len() + expired.len() == EXPIRE_MOST {
                break;
            }
            if key.sequence > synced {
                continue;
            }
            let stored = queue.get(key).expect("what is ready is there");
            let received = stored.touched.as_ref().map_or(0, |t| t.receives_here);
            if queue.is_expired(stored, now.running_ms) {
                expired.push(key);
            } else if let Some((to, most)) = dead_letters
                && most <= received
            {
                moved.push((to, key));
            } else {
                bytes += stored.place.length as usize;
                if RECEIVE_BYTES_MAX < bytes && !taken.is_empty() {
                    break;
                }
                taken.push(key);
            }
        }
        if !taken.is_empty() && IN_FLIGHT_MESSAGES_MAX < queue.in_flight() + taken.len() {
            return Err(Refusal::TooManyInFlight);
        }
        let seconds = receive
            .visibility_seconds
            .unwrap_or(queue.document.visibility_seconds());
        let mut messages = Vec::with_capacity(taken.len());
        for key in taken {
            // A stamp is never reused, not even after a crash that forgot a receive.
            self.receives += 1;
            messages.push((key, (self.state.start_number << 40) | self.receives));
        }
        let mut records = Vec::new();
        if !expired.is_empty() {
            records.push((
                None,
                Record::Expire {
                    queue: number,
                    messages: expired,
                },
            ));
        }
        if let Some((to, _)) = moved.first().copied() {
            let messages = moved.into_iter().map(|(_, key)| key).collect();
            records.push((
                None,
                Record::Move {
                    from: number,
                    to,
                    messages,
                },
            ));
            self.woken.insert(to);
        }
        if !messages.is_empty() {
            let visible_ms = now.wall_ms + (seconds * 1000).cast_signed();
            let messages = messages.clone();
            records.push((
                None,
                Record::Receive {
                    queue: number,
                    at_ms: now.wall_ms,
                    visible_ms,
                    messages,
                },
            ));
        }
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.record(now, &records, true, journal)
            .map_err(|_| Refusal::Full)?;
        let handles: Vec<Handle> = messages
            .iter()
            .map(|(message, stamp)| Handle {
                queue: number,
                message: *message,
                stamp: *stamp,
            })
            .collect();
        if let Some(key) = receive.try_key
            && !handles.is_empty()
        {
            self.waiters.remember(key, handles.clone(), now.running_ms);
        }
        Ok(handles
            .into_iter()
            .filter_map(|handle| self.given(handle))
            .collect())
    }

    /// Hands what has become receivable to those who wait, first come, first served.
    pub(super) fn serve_waiters(&mut self, now: Now, journal: &mut dyn Append) {
        while let Some(number) = self.woken.pop_first() {
            while let Some((request, receive)) = self.waiters.first(number) {
                match self.take_messages(now, &receive, journal) {
                    Ok(given) if given.is_empty() => {
                        self.watch(number, now);
                        break;
                    }
                    Ok(given) => {
                        self.waiters.remove(request);
                        self.give(now, request, given);
                    }
                    Err(refusal) => {
                        self.waiters.remove(request);
                        self.refuse(request, refusal);
                    }
                }
            }
        }
        while let Some((deadline, request)) = self.waiters.deadlines.first().copied() {
            if deadline > now.running_ms {
                break;
            }
            self.waiters.remove(request);
            self.out
                .push(Effect::Answer(request, Answer::Messages(Vec::new())));
        }
    }

    /// The waiters of a queue that is gone are told so.
    pub(super) fn dismiss_waiters(&mut self, number: u32) {
        while let Some((request, _)) = self.waiters.first(number) {
            self.waiters.remove(request);
            self.refuse(request, Refusal::NoQueue);
        }
    }

    pub(super) fn delete(
        &mut self,
        now: Now,
        request: RequestNumber,
        number: u32,
        handles: &[Handle],
        journal: &mut dyn Append,
    ) {
        let Some(queue) = self.state.queue_by_number(number) else {
            return self.refuse(request, Refusal::NoQueue);
        };
        let verdicts: Vec<_> = handles
            .iter()
            .map(|h| {
                if h.queue == number {
                    Ok(())
                } else {
                    Err(HandleRefusal::Foreign)
                }
            })
            .collect();
        let messages: Vec<Key> = handles
            .iter()
            .filter(|h| h.queue == number && queue.get(h.message).is_some())
            .map(|h| h.message)
            .collect();
        if !messages.is_empty()
            && self
                .record(
                    now,
                    &[(
                        None,
                        Record::Delete {
                            queue: number,
                            messages,
                        },
                    )],
                    true,
                    journal,
                )
                .is_err()
        {
            return self.answer(request, Answer::Unavailable);
        }
        self.answer(request, Answer::Handles(verdicts));
    }

    pub(super) fn visibility(
        &mut self,
        now: Now,
        request: RequestNumber,
        number: u32,
        handles: &[(Handle, Option<u64>)],
        journal: &mut dyn Append,
    ) {
        if self.state.queue_by_number(number).is_none() {
            return self.refuse(request, Refusal::NoQueue);
        }
        let verdicts = handles
            .iter()
            .map(|(handle, seconds)| self.hide(now, number, *handle, *seconds, journal))
            .collect();
        self.woken.insert(number);
        self.out
            .push(Effect::Answer(request, Answer::Handles(verdicts)));
    }

    fn hide(
        &mut self,
        now: Now,
        number: u32,
        handle: Handle,
        seconds: Option<u64>,
        journal: &mut dyn Append,
    ) -> Result<(), HandleRefusal> {
        if handle.queue != number {
            return Err(HandleRefusal::Foreign);
        }
        let queue = self
            .state
            .queues
            .get_mut(&number)
            .expect("looked up by the caller");
        queue.show(now.running_ms);
        let seconds = seconds.unwrap_or(queue.document.visibility_seconds());
        let stored = queue
            .get(handle.message)
            .ok_or(HandleRefusal::Unavailable)?;
        let (stamp, last_ms) = stored
            .touched
            .as_ref()
            .map_or((0, now.wall_ms), |t| (t.stamp, t.last_ms));
        if queue.is_expired(stored, now.running_ms) || handle.stamp < stamp {
            return Err(HandleRefusal::Unavailable);
        }
        if handle.stamp == stamp && !matches!(stored.seat(), Seat::InFlight(_)) {
            // Its time is over and nobody took it since: accepted, without effect, as AWS does.
            return Ok(());
        }
        let since = u64::try_from(now.wall_ms - last_ms).unwrap_or(0) / 1000;
        if VISIBILITY_SECONDS_MAX < since + seconds {
            return Err(HandleRefusal::TooLong);
        }
        let visible_ms = now.wall_ms + (seconds * 1000).cast_signed();
        let record = Record::Visibility {
            queue: number,
            message: handle.message,
            visible_ms,
        };
        self.record(now, &[(None, record)], true, journal)
            .map_err(|_| HandleRefusal::Full)?;
        Ok(())
    }

    pub(super) fn give_back(
        &mut self,
        now: Now,
        number: u32,
        handles: &[Handle],
        journal: &mut dyn Append,
    ) {
        for handle in handles {
            // A queue or message that is gone needs nothing back.
            if self.state.queue_by_number(number).is_some() {
                let _ = self.hide(now, number, *handle, Some(0), journal);
            }
        }
        self.woken.insert(number);
    }

    pub(super) fn expire_messages(&mut self, now: Now, journal: &mut dyn Append) {
        let outlived: Vec<(u32, Vec<Key>)> = self
            .state
            .queues
            .values()
            .map(|queue| (queue.number, queue.outlived(now.running_ms, EXPIRE_MOST)))
            .filter(|(_, keys)| !keys.is_empty())
            .collect();
        for (queue, messages) in outlived {
            // A full journal keeps them until the next sweep.
            let _ = self.record(
                now,
                &[(None, Record::Expire { queue, messages })],
                true,
                journal,
            );
        }
    }
}
