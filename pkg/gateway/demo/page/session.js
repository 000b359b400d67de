// A user's presence in the cluster over as many connections as it takes: it reconnects with backoff, moves to another gateway
// without a gap (the new connection joins every room before the old one is closed), and sends what was written meanwhile.
// It knows rooms and frames, not the page.

import { CommandError, Connection, LostError } from "./connection.js";

const backoffBase = 500; // ms
const backoffMax = 20_000; // ms
const publishAttempts = 5;
const enterTimeout = 5_000; // ms that a move waits for its joins before it gives up the new connection
const farewell = 2_000; // ms that an old connection gets for the acks it owes

// A few quick tries find another gateway when the balancer picks at random. With ClientIP affinity they all come back here;
// then it takes a pause longer than the affinity's timeout, which the page cannot know: these pauses pass 10, 30 and 60 s.
const switchPauses = [0, 300, 300, 12_000, 35_000, 65_000]; // ms

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const fullJitter = (ceiling) => Math.random() * ceiling;

// mayReconnect follows the table of close codes in docs/protocol.md.
function mayReconnect(code) {
  if (code === 4408) return true;
  return !(code >= 4400 && code <= 4499) && ![1002, 1003, 1007, 1008, 1009].includes(code);
}

export class Session {
  #url;
  #on;
  #current = null; // the connection that publishes
  #joined = new Set(); // rooms that the current connection has joined
  #waiting = []; // wake-ups of publishes that wait for a connection or a join
  #lanes = new Map(); // target key -> promise of its last publish, so that a target's messages stay in order
  #failures = 0;
  #retryTimer;
  #resting = ""; // "waiting" for the next attempt, "refused" for good, "" while connected or connecting
  #moving = false;
  #stopped = false;

  rooms = new Map(); // room id -> {epoch, offset}, what this session wants to be in and has seen
  ids = new Set(); // every user id this session has had: with guest identity each connection gets a new one
  userId = "";
  node = "";

  // on: state({status, …}), frame(frame), joined(room, ack), refused(room, error), notice(text)
  constructor(url, on) {
    this.#url = url;
    this.#on = on;
  }

  start() {
    addEventListener("online", () => this.#revive());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.#revive());
    this.#connect();
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#retryTimer);
    this.#current?.close();
    this.#current = null;
  }

  // connectNow skips the rest of a pause between attempts, or tries again after a refusal.
  connectNow() {
    if (this.#resting && !this.#stopped) {
      this.#connect();
    }
  }

  // A phone that wakes up, or finds its network again, does not wait for a timer that slept as well.
  #revive() {
    if (this.#resting === "waiting") {
      this.connectNow();
    } else {
      this.#current?.probe();
    }
  }

  join(room) {
    if (!this.rooms.has(room)) {
      this.rooms.set(room, {});
      if (this.#current) {
        this.#enter(this.#current, room);
      }
    }
  }

  leave(room) {
    this.rooms.delete(room);
    this.#joined.delete(room);
    this.#current?.command({ type: "leave", room_id: room }).catch(() => {}); // a lost connection has left too
  }

  // publish resolves with the ack, however many connections and attempts that takes, and rejects with CommandError.
  // target is {room_id} or {target_user_id}; key makes repeats of one message recognisable.
  publish(target, data, key) {
    const lane = target.room_id !== undefined ? `room ${target.room_id}` : `user ${target.target_user_id}`;
    const previous = this.#lanes.get(lane) ?? Promise.resolve();
    const result = previous.then(() => this.#publish(target, data, key));
    const settled = result.catch(() => {});
    this.#lanes.set(lane, settled);
    settled.then(() => this.#lanes.get(lane) === settled && this.#lanes.delete(lane));
    return result;
  }

  async #publish(target, data, key) {
    for (let attempt = 1; ; ) {
      const connection = await this.#ready(target.room_id);
      try {
        return await connection.command({ type: "publish", ...target, data: { ...data, via: this.node }, idempotency_key: key });
      } catch (error) {
        if (error instanceof LostError) {
          continue; // said again, with the same key, on the next connection
        }
        const passing = ["unavailable", "rate_limited", "timeout"].includes(error.code);
        if (!passing || attempt >= publishAttempts) {
          throw error;
        }
        await sleep(fullJitter(backoffBase * 2 ** attempt++));
      }
    }
  }

  // ready resolves with the current connection once it has joined room, or at once where no room is needed.
  async #ready(room) {
    for (;;) {
      if (room !== undefined && !this.rooms.has(room)) {
        throw new CommandError("not_joined", "You are not in this room.");
      }
      if (this.#current && (room === undefined || this.#joined.has(room))) {
        return this.#current;
      }
      await new Promise((resolve) => this.#waiting.push(resolve));
    }
  }

  #wake() {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #open() {
    const connection = new Connection(this.#url(), {
      onFrame: (frame) => this.#receive(connection, frame),
      onLost: (lost) => this.#lost(connection, lost),
    });
    return connection;
  }

  async #connect() {
    clearTimeout(this.#retryTimer);
    this.#resting = "";
    this.#on.state({ status: "connecting" });
    const connection = this.#open();
    try {
      await connection.opened;
    } catch (lost) {
      if (!this.#stopped) this.#retry(lost, await explain(this.#url()));
      return;
    }
    if (this.#stopped) {
      connection.close();
      return;
    }
    this.#adopt(connection, new Set());
    for (const room of this.rooms.keys()) this.#enter(connection, room);
  }

  #adopt(connection, joined) {
    const old = this.#current;
    this.#current = connection;
    this.#joined = joined;
    this.#failures = 0;
    this.node = connection.welcome.node;
    this.userId = connection.welcome.user_id;
    this.ids.add(this.userId);
    this.#on.state({ status: "connected" });
    this.#wake();
    if (old) {
      Promise.race([old.settled(), sleep(farewell)]).then(() => old.close());
    }
  }

  // enter joins room on connection. What a break made it miss comes with the ack, where the room has a history.
  async #enter(connection, room) {
    const seen = this.rooms.get(room);
    const past = seen?.epoch ? { recover: { epoch: seen.epoch, offset: seen.offset } } : { history: 50 };
    try {
      const ack = await connection.command({ type: "join", room_id: room, ...past });
      if (!this.rooms.has(room)) return true; // left meanwhile
      if (connection === this.#current) {
        this.#joined.add(room);
        this.#wake();
      }
      this.#on.joined(room, ack, Boolean(seen?.epoch));
      // What does not fit into the ack follows as message frames: only what is here has been seen.
      const last = ack.messages?.at(-1)?.offset;
      if (ack.epoch) this.saw(room, ack.epoch, last ?? (ack.recovered ? seen.offset : ack.offset));
      return true;
    } catch (error) {
      if (error instanceof LostError) return false;
      if (error.code === "unavailable" || error.code === "timeout" || error.code === "rate_limited") {
        if (connection !== this.#current) return false;
        await sleep(1000 + fullJitter(1000));
        return connection === this.#current && this.rooms.has(room) && this.#enter(connection, room);
      }
      this.rooms.delete(room);
      this.#wake();
      this.#on.refused(room, error);
      return true;
    }
  }

  // saw notes how far a room's log has been read.
  saw(room, epoch, offset) {
    const seen = this.rooms.get(room);
    if (seen && epoch && (seen.epoch !== epoch || offset > seen.offset)) {
      seen.epoch = epoch;
      seen.offset = offset;
    }
  }

  #receive(connection, frame) {
    if (frame.type === "reconnect") {
      if (connection === this.#current) {
        this.#on.state({ status: "connected", moving: frame.reason });
        setTimeout(() => connection === this.#current && this.#move(), Number(frame.delay_ms) || 0);
      }
      return;
    }
    this.#on.frame(frame);
  }

  #lost(connection, lost) {
    if (connection !== this.#current || this.#stopped) return;
    this.#current = null;
    this.#joined = new Set();
    this.#retry(lost);
  }

  #retry(lost, explanation) {
    if (this.#current || this.#resting) return;
    const error = explanation || lost.message;
    if (!mayReconnect(lost.closeCode)) {
      this.#resting = "refused";
      this.#on.state({ status: "refused", error: error || `The gateway closed the connection (${lost.closeCode}).` });
      return;
    }
    this.#resting = "waiting";
    const delay = fullJitter(Math.min(backoffMax, backoffBase * 2 ** this.#failures++));
    this.#retryTimer = setTimeout(() => this.#connect(), delay);
    this.#on.state({ status: "waiting", error, until: Date.now() + delay });
  }

  // move opens a second connection, joins every room there, and only then lets the first one go: nothing is missed between.
  // Without avoid any gateway will do. It tells whether it moved.
  async #move(avoid) {
    if (this.#moving || !this.#current) return false;
    this.#moving = true;
    const next = this.#open();
    try {
      await next.opened;
      if (avoid && next.welcome.node === avoid) {
        next.close();
        return false;
      }
      const rooms = [...this.rooms.keys()];
      const all = Promise.all(rooms.map((room) => this.#enter(next, room)));
      const entered = await Promise.race([all, sleep(enterTimeout).then(() => [false])]);
      if (!this.#current || this.#stopped || entered.includes(false)) {
        next.close();
        return false;
      }
      this.#adopt(next, new Set(rooms.filter((room) => this.rooms.has(room))));
      for (const room of this.rooms.keys()) {
        if (!rooms.includes(room)) this.#enter(next, room); // joined while moving
      }
      return true;
    } catch {
      return false; // the old connection still serves, or its own end starts a reconnect
    } finally {
      this.#moving = false;
    }
  }

  // switchNode moves to any other gateway. step tells how long it pauses before a try, in ms, so that a person can wait or
  // cancel through signal. It resolves with whether it got elsewhere.
  async switchNode(step, signal) {
    const from = this.node;
    for (const pause of switchPauses) {
      if (pause > 1000) step(pause);
      await Promise.race([sleep(pause), new Promise((resolve) => signal.addEventListener("abort", resolve))]);
      if (signal.aborted || this.node !== from) break;
      if (await this.#move(from)) break;
    }
    return this.node !== from;
  }
}

// explain asks why a handshake failed: browsers hide a refusal's status and body from WebSocket, not from fetch.
async function explain(url) {
  try {
    const response = await fetch(url.replace(/^ws/, "http"), { signal: AbortSignal.timeout(3000), cache: "no-store" });
    const body = await response.json().catch(() => ({}));
    if (body.code === "bad_request") return ""; // only that this was no WebSocket: the next attempt may well succeed
    return body.message ? String(body.message) : `The server answered HTTP ${response.status}.`;
  } catch {
    return navigator.onLine ? "The server cannot be reached." : "This device is offline.";
  }
}
