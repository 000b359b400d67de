// One WebSocket to one gateway, from the handshake to the close. It matches acks and errors to commands, pings, and notices
// a link that died without a close. It does not reconnect; session.js does.

export const subprotocol = "wscluster.v1.json";

const welcomeTimeout = 10_000; // ms
const probeTimeout = 3_000; // ms
const answerDue = 3_000; // ms; the gateway answers within about 2 s even when Redis is away, but for joins, which wait for it
const ackTimeout = 10_000; // ms

// CommandError is the gateway's answer to a command that failed. Its code is one of docs/protocol.md, or "timeout".
export class CommandError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

// LostError says that the connection ended; closeCode is that of the WebSocket, 1006 if there was no close frame.
export class LostError extends Error {
  constructor(closeCode, reason) {
    super(reason);
    this.closeCode = closeCode;
  }
}

export class Connection {
  #socket;
  #commands = new Map(); // command id -> {resolve, reject, due, timer}
  #lastId = 0;
  #pinger;
  #probing = false;
  #over = false;

  welcome = null;

  // onFrame gets every frame but welcome, acks and errors of commands; onLost one LostError, at the end, also of a
  // connection that never opened, but not after close().
  constructor(url, { onFrame, onLost }) {
    this.onFrame = onFrame;
    this.onLost = onLost;
    this.#socket = new WebSocket(url, subprotocol);
    this.#socket.onmessage = (event) => this.#read(event.data);
    this.#socket.onclose = (event) => this.#end(new LostError(event.code, event.reason));
    this.opened = new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#fail("The gateway did not say welcome in time."), welcomeTimeout);
      this.settleOpened = (error) => {
        clearTimeout(timer);
        error ? reject(error) : resolve(this.welcome);
      };
    });
    this.opened.catch(() => {}); // onLost tells it too
  }

  // command sends a frame and resolves with its ack. It rejects with CommandError or LostError.
  command(frame) {
    if (this.#over || !this.welcome) {
      return Promise.reject(new LostError(1006, "The connection is closed."));
    }
    const id = String(++this.#lastId);
    return new Promise((resolve, reject) => {
      // A link that is dead in one direction takes what is sent and brings nothing back: only asking tells it from a slow Redis.
      const due = setTimeout(() => this.probe(), answerDue);
      const timer = setTimeout(() => {
        this.#commands.delete(id);
        reject(new CommandError("timeout", "The gateway did not answer in time."));
      }, ackTimeout);
      this.#commands.set(id, { resolve, reject, due, timer });
      this.#socket.send(JSON.stringify({ ...frame, id }));
    });
  }

  // settled resolves when no command waits for its ack any more.
  async settled() {
    while (this.#commands.size > 0 && !this.#over) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  // probe finds out soon whether the other end is still there.
  probe() {
    if (this.#probing || this.#over) {
      return;
    }
    this.#probing = true;
    const timer = setTimeout(() => this.#fail("The gateway stopped answering."), probeTimeout);
    this.command({ type: "ping" }).catch(() => {}).then(() => {
      clearTimeout(timer);
      this.#probing = false;
    });
  }

  close() {
    this.onLost = () => {};
    this.#socket.close(1000);
    this.#end(new LostError(1000, ""));
  }

  #read(text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return; // a proxy's doing; the gateway sends only JSON
    }
    if (frame === null || typeof frame !== "object" || this.#over) {
      return;
    }
    if (frame.type === "welcome") {
      this.welcome = frame;
      this.#keepAlive(Number(frame.heartbeat_ms) || 25_000);
      this.settleOpened();
      return;
    }
    const command = (frame.type === "ack" || frame.type === "error") && this.#commands.get(frame.id);
    if (!command) {
      this.onFrame(frame);
      return;
    }
    this.#commands.delete(frame.id);
    clearTimeout(command.due);
    clearTimeout(command.timer);
    if (frame.type === "ack") {
      command.resolve(frame);
    } else {
      command.reject(new CommandError(frame.code, frame.message));
    }
  }

  // Browsers hide protocol pings, so a link that died silently is only noticed by asking.
  #keepAlive(interval) {
    this.#pinger = setInterval(() => {
      this.command({ type: "ping" }).catch((error) => {
        if (error.code === "timeout") {
          this.#fail("The gateway stopped answering.");
        }
      });
    }, interval);
  }

  #fail(reason) {
    this.#socket.close();
    this.#end(new LostError(1006, reason));
  }

  #end(lost) {
    if (this.#over) {
      return;
    }
    this.#over = true;
    clearInterval(this.#pinger);
    this.settleOpened(lost);
    for (const command of this.#commands.values()) {
      clearTimeout(command.due);
      clearTimeout(command.timer);
      command.reject(lost);
    }
    this.#commands.clear();
    this.onLost(lost);
  }
}
