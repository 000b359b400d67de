// What has been said: conversations (rooms and people), their messages without doubles, and what is unread. No DOM, no socket.

const maxMessages = 500; // kept of one conversation; the oldest go first

export class Conversation {
  messages = []; // {id, key, from, name, text, via, ts, mine, state, error} or {divider}
  unread = 0;
  draft = "";
  #ids = new Set();

  constructor(kind, id) {
    this.kind = kind; // "room" or "user"
    this.id = id;
  }

  get target() {
    return this.kind === "room" ? { room_id: this.id } : { target_user_id: this.id };
  }

  has(id) {
    return this.#ids.has(id);
  }

  // add takes a message once. One with the key of a message that still waits for its ack is that message.
  add(message) {
    if (message.id) {
      if (this.#ids.has(message.id)) return false;
      this.#ids.add(message.id);
      const own = message.mine && message.key && this.messages.find((m) => m.mine && m.key === message.key);
      if (own) {
        if (own.state !== "sent") Object.assign(own, { id: message.id, ts: message.ts, via: message.via, state: "sent", error: "" });
        return false;
      }
    }
    this.messages.push(message);
    while (this.messages.length > maxMessages) {
      this.#ids.delete(this.messages.shift().id);
    }
    return true;
  }

  // confirm notes the ack of the message with key.
  confirm(key, id) {
    const message = this.messages.find((m) => m.key === key);
    if (message && message.state !== "sent") {
      Object.assign(message, { id, state: "sent", error: "" });
      this.#ids.add(id);
    }
  }

  fail(key, error) {
    const message = this.messages.find((m) => m.key === key);
    if (message) Object.assign(message, { state: "failed", error });
  }

  divide(text) {
    if (this.messages.length > 0 && this.messages.at(-1).divider !== text) {
      this.messages.push({ divider: text });
    }
  }
}

export class Conversations {
  #all = new Map(); // "room:id" or "user:id" -> Conversation
  open = null; // the one on the screen

  static key(kind, id) {
    return `${kind}:${id}`;
  }

  get(kind, id) {
    return this.#all.get(Conversations.key(kind, id));
  }

  ensure(kind, id) {
    const key = Conversations.key(kind, id);
    if (!this.#all.has(key)) this.#all.set(key, new Conversation(kind, id));
    return this.#all.get(key);
  }

  remove(conversation) {
    this.#all.delete(Conversations.key(conversation.kind, conversation.id));
    if (this.open === conversation) this.open = this.list("room")[0] ?? this.list("user")[0] ?? null;
  }

  list(kind) {
    return [...this.#all.values()].filter((c) => c.kind === kind);
  }

  unread() {
    return [...this.#all.values()].reduce((sum, c) => sum + c.unread, 0);
  }
}

// readMessage makes a message of a frame. data is whatever a client published: this page's {text, name, via, key},
// a bare string from wscat, or any other JSON, which is shown as it is.
export function readMessage(frame, ownIds) {
  const data = frame.data;
  const fields = data !== null && typeof data === "object" && !Array.isArray(data) ? data : {};
  const word = (value) => (typeof value === "string" ? value : "");
  const plain = typeof data === "string" ? data : word(fields.text);
  return {
    id: frame.message_id,
    key: word(fields.key),
    from: frame.from ?? "",
    name: word(fields.name).slice(0, 64),
    text: plain || JSON.stringify(data),
    code: !plain,
    via: word(fields.via).slice(0, 256),
    ts: frame.ts,
    mine: ownIds.has(frame.from),
    state: "sent",
  };
}
