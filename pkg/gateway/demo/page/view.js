// The screen. It reads conversations and calls the actions it was given; text from others only ever becomes textContent.

import { messageRow } from "./rows.js";

const byId = (id) => document.getElementById(id);

export class View {
  #conversations;
  #actions;
  #countdown;
  #rows = new Map(); // message -> [row, what it showed], of the open conversation
  #shown = null; // the conversation whose rows these are

  constructor(conversations, actions) {
    this.#conversations = conversations;
    this.#actions = actions;
    onSubmit("enter", (form) => {
      byId("entrance").hidden = true;
      actions.enter(form.get("name").trim(), [form.get("room").trim()], []);
    });
    onSubmit("join-room", (form) => actions.join(form.get("id").trim()));
    onSubmit("message-person", (form) => actions.write(form.get("id").trim()));
    byId("composer").onsubmit = (event) => {
      event.preventDefault();
      this.#send();
    };
    byId("leave").onclick = actions.leave;
    byId("switch-node").onclick = actions.switchNode;
    byId("connect-now").onclick = actions.connectNow;
    byId("sign-out").onclick = actions.signOut;
    byId("back").onclick = () => this.#pane("list");
    byId("text").onkeydown = (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.#send();
      }
    };
    byId("text").oninput = grow;
    document.addEventListener("visibilitychange", () => this.#read());
    addEventListener("keydown", (event) => event.key === "Escape" && this.#pane("list"));
    matchMedia(narrow).addEventListener("change", () => this.#read());
  }

  entrance(name) {
    byId("entrance").hidden = false;
    byId("name").value = name;
    byId("name").focus();
  }

  // start draws everything anew. Where a screen shows one pane at a time, pane says which: "list" or "talk".
  start(pane) {
    byId("chat").hidden = false;
    if (this.#conversations.open) this.openPane(this.#conversations.open);
    this.#draw();
    this.#pane(pane);
  }

  openPane(conversation) {
    const text = byId("text");
    if (this.#shown && this.#shown !== conversation) this.#shown.draft = text.value;
    if (this.#shown !== conversation) text.value = conversation.draft;
    this.#pane("talk");
    this.#draw();
    grow();
    if (!matchMedia(narrow).matches) text.focus(); // a phone's keyboard would cover what was just opened
  }

  // reading tells whether a person sees the open conversation.
  reading() {
    const covered = matchMedia(narrow).matches && byId("chat").dataset.pane === "list";
    return document.visibilityState === "visible" && !covered;
  }

  refresh(conversation) {
    if (conversation === this.#conversations.open) {
      this.#draw();
    } else {
      this.#lists();
    }
  }

  // state shows the connection: status is connecting, connected (moving: why it will move soon), waiting (until, error) or refused (error).
  state({ status, node, userId, name, error, until, moving }) {
    const texts = {
      connecting: "Connecting…",
      connected: moving ? "Moving on from" : "Connected to",
      waiting: "Disconnected.",
      refused: "Disconnected.",
    };
    clearInterval(this.#countdown);
    document.documentElement.dataset.link = moving ? "moving" : status;
    byId("link-state").textContent = texts[status];
    byId("link-node").textContent = status === "connected" ? node : "";
    byId("pill-node").textContent = status === "connected" ? node : status === "connecting" ? "connecting" : "offline";
    byId("connect-now").hidden = status !== "waiting" && status !== "refused";
    byId("switch-node").hidden = status !== "connected";
    const detail = byId("link-detail");
    if (status === "connected") {
      const own = userId === name ? `You are ${userId}.` : `You are ${name}; this server made you the id ${userId}.`;
      const why = { draining: "It is shutting down.", rebalancing: "The load is being spread.", token_expiring: "Your token ends soon." };
      detail.textContent = moving ? why[moving] ?? "" : own;
    } else if (status === "waiting") {
      const tick = () => {
        const seconds = Math.max(0, Math.ceil((until - Date.now()) / 1000));
        detail.textContent = `${error ? `${error} ` : ""}Trying again in ${seconds} s. What you write is sent then.`;
      };
      tick();
      this.#countdown = setInterval(tick, 250);
    } else {
      detail.textContent = error ?? "";
    }
  }

  switching(running, text) {
    byId("switch-node").textContent = running ? "Stay here" : "Another gateway";
    if (text) byId("link-detail").textContent = text;
  }

  notice(text) {
    const note = document.createElement("p");
    note.textContent = text;
    byId("notices").append(note);
    setTimeout(() => note.remove(), 8000);
  }

  #send() {
    const text = byId("text");
    if (text.value.trim() && this.#conversations.open) {
      const value = text.value.trim();
      text.value = "";
      grow();
      this.#actions.send(value);
    }
    text.focus();
  }

  #pane(name) {
    byId("chat").dataset.pane = this.#conversations.open ? name : "list";
    this.#read();
  }

  // read marks the open conversation as read when a person sees it.
  #read() {
    const open = this.#conversations.open;
    if (open?.unread && this.reading()) open.unread = 0;
    this.#lists();
  }

  #lists() {
    for (const [list, kind] of [["rooms", "room"], ["people", "user"]]) {
      byId(list).replaceChildren(...this.#conversations.list(kind).map((c) => this.#entry(c)));
    }
    const open = this.#conversations.open;
    const unread = this.#conversations.unread();
    const elsewhere = unread - (open?.unread ?? 0);
    byId("back-unread").hidden = elsewhere === 0;
    byId("back-unread").textContent = String(elsewhere);
    byId("back").setAttribute("aria-label", elsewhere ? `Back to conversations, ${elsewhere} unread` : "Back to conversations");
    document.title = `${unread ? `(${unread}) ` : ""}${open ? `${open.id} · ` : ""}wscluster chat`;
  }

  #entry(conversation) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.className = `entry ${conversation.kind}`;
    button.dataset.id = conversation.id;
    if (conversation === this.#conversations.open) button.setAttribute("aria-current", "true");
    const label = document.createElement("span");
    label.className = "entry-name";
    label.textContent = conversation.id;
    button.append(label);
    if (conversation.unread) {
      const badge = document.createElement("span");
      badge.className = "badge";
      badge.textContent = String(conversation.unread);
      const words = document.createElement("span");
      words.className = "hidden";
      words.textContent = " unread";
      badge.append(words);
      button.append(badge);
    }
    button.onclick = () => this.#actions.open(conversation);
    item.append(button);
    return item;
  }

  #draw() {
    this.#lists();
    const open = this.#conversations.open;
    byId("talk-title").textContent = open?.id ?? "";
    byId("talk-title").className = open?.kind ?? "";
    byId("talk-sub").textContent = !open ? "" : open.kind === "room" ? "Everybody in this room" : "Only the two of you";
    byId("leave").textContent = open?.kind === "user" ? "Close" : "Leave";
    for (const id of ["leave", "messages", "composer"]) byId(id).hidden = !open;
    byId("nothing-open").hidden = Boolean(open);
    byId("text").setAttribute("aria-label", open ? `Message to ${open.id}` : "Message");
    byId("text").placeholder = open ? `Message ${open.id}` : "";
    this.#messages(open);
  }

  // messages adds, changes and removes only the rows that differ, so that a screen reader's log reads each message once.
  #messages(open) {
    const log = byId("messages");
    const atEnd = this.#shown !== open || log.scrollHeight - log.scrollTop - log.clientHeight < 60;
    if (this.#shown !== open) {
      this.#rows.clear();
      log.replaceChildren();
      this.#shown = open;
    }
    const messages = open?.messages ?? [];
    const kept = new Set(messages);
    for (const [message, [row]] of this.#rows) {
      if (!kept.has(message)) {
        row.remove();
        this.#rows.delete(message);
      }
    }
    messages.forEach((message, i) => {
      const look = [message.state, message.id, message.error, message.ts].join();
      const [row, shown] = this.#rows.get(message) ?? [];
      if (shown === look) return;
      const fresh = messageRow(message, messages[i - 1], this.#actions);
      row ? row.replaceWith(fresh) : log.append(fresh);
      this.#rows.set(message, [fresh, look]);
    });
    if (atEnd) log.scrollTop = log.scrollHeight;
  }
}

const narrow = "(max-width: 44rem)";

function onSubmit(id, action) {
  byId(id).onsubmit = (event) => {
    event.preventDefault();
    const data = new FormData(event.target);
    if ([...data.values()].every((word) => word.trim())) {
      event.target.reset();
      action(data);
    }
  };
}

// grow gives the text box a line for each line of text, up to six.
function grow() {
  const text = byId("text");
  text.rows = 1;
  while (text.rows < 6 && text.scrollHeight > text.clientHeight) text.rows++;
}
