// The demo chat: puts session (the socket side), conversations (what was said) and view (the screen) together.

import { Conversations, readMessage } from "./conversations.js";
import { Session } from "./session.js";
import { View } from "./view.js";

const conversations = new Conversations();
const view = new View(conversations, { enter, send, retry, join, write, open, leave, switchNode, connectNow, signOut });
let session = null;
let name = "";
let switching = null; // AbortController of a running switch to another gateway

function socketUrl() {
  const url = new URL("ws", document.baseURI);
  url.protocol = url.protocol.replace("http", "ws");
  url.searchParams.set("user_id", name);
  return url.href;
}

function enter(userName, rooms, people) {
  name = userName;
  session = new Session(socketUrl, {
    state: showState,
    frame: receive,
    joined,
    refused(room, error) {
      view.notice(`You cannot join ${room}: ${error.message}`);
      drop(conversations.get("room", room));
    },
  });
  for (const room of rooms) {
    conversations.ensure("room", room);
    session.join(room);
  }
  for (const person of people) conversations.ensure("user", person);
  conversations.open = conversations.list("room")[0] ?? null;
  remember();
  view.start("talk");
  session.start();
}

// A tab is one person; it comes back as the same one after a reload.
function remember() {
  sessionStorage.setItem("chat", JSON.stringify({
    name,
    rooms: conversations.list("room").map((c) => c.id),
    people: conversations.list("user").map((c) => c.id),
  }));
  localStorage.setItem("name", name);
}

function showState(state) {
  view.state({ ...state, node: session.node, userId: session.userId, name, switching: switching !== null });
}

function receive(frame) {
  switch (frame.type) {
    case "message":
      return take(frame);
    case "epoch_changed": {
      const conversation = frame.room_id !== undefined && conversations.get("room", frame.room_id);
      if (conversation) {
        session.saw(frame.room_id, frame.epoch, frame.offset);
        conversation.divide("The room's history began anew; messages around here may be missing.");
        view.refresh(conversation);
      }
      return;
    }
    case "error":
      return view.notice(frame.message);
  }
}

function take(frame) {
  const message = readMessage(frame, session.ids);
  let conversation;
  if (frame.room_id !== undefined) {
    conversation = conversations.get("room", frame.room_id);
    session.saw(frame.room_id, frame.epoch, frame.offset);
  } else {
    const other = message.mine ? frame.target_user_id : message.from || "server";
    conversation = conversations.ensure("user", other);
    remember();
  }
  if (conversation) show(conversation, message, !message.mine);
}

function show(conversation, message, counts) {
  const added = conversation.add(message);
  if (added && counts && !(conversation === conversations.open && view.reading())) conversation.unread++;
  conversations.open ??= conversation;
  view.refresh(conversation);
}

// joined gets the ack of every join, also after a reconnect, where again is true if there was a history to recover from.
function joined(room, ack, again) {
  const conversation = conversations.get("room", room);
  if (!conversation) return;
  if (again && ack.recovered === false) conversation.divide("Some messages may be missing here: the history did not reach back far enough.");
  for (const frame of ack.messages ?? []) {
    const message = readMessage(frame, session.ids);
    show(conversation, message, again && !message.mine);
  }
  view.refresh(conversation);
}

function send(text) {
  const conversation = conversations.open;
  const key = crypto.getRandomValues(new Uint32Array(4)).join("-");
  const message = { key, from: session.userId, name, text, via: session.node, ts: Date.now(), mine: true, state: "sending" };
  conversation.add(message);
  view.refresh(conversation);
  publish(conversation, message);
}

function retry(message) {
  message.state = "sending";
  view.refresh(conversations.open);
  publish(conversations.open, message);
}

async function publish(conversation, message) {
  const data = { text: message.text, key: message.key };
  if (session.userId !== name) data.name = name; // the server made the id: say what to call it
  try {
    const ack = await session.publish(conversation.target, data, message.key);
    conversation.confirm(message.key, ack.message_id);
  } catch (error) {
    conversation.fail(message.key, error.message);
  }
  view.refresh(conversation);
}

function join(room) {
  open(conversations.ensure("room", room));
  session.join(room);
  remember();
}

function write(person) {
  open(conversations.ensure("user", person));
  remember();
}

function open(conversation) {
  conversations.open = conversation;
  conversation.unread = 0;
  view.openPane(conversation);
}

function leave() {
  const conversation = conversations.open;
  if (conversation.kind === "room") session.leave(conversation.id);
  drop(conversation);
}

function drop(conversation) {
  if (!conversation) return;
  conversations.remove(conversation);
  remember();
  view.start("list");
}

async function switchNode() {
  if (switching) {
    switching.abort();
    return;
  }
  const from = session.node;
  switching = new AbortController();
  const { signal } = switching;
  view.switching(true, "Looking for another gateway…");
  const moved = await session.switchNode((pause) => {
    view.switching(true, `The load balancer remembers your address (ClientIP affinity) and brought you back to ${from}. ` +
      `It forgets after a while without new connections; next try in ${Math.round(pause / 1000)} s.`);
  }, signal);
  switching = null;
  const stayed = signal.aborted ? "" : `Every new connection came back to ${from}; it may be the only gateway that is ready.`;
  view.switching(false, moved ? `Moved from ${from} without a gap.` : stayed);
}

function connectNow() {
  session.connectNow();
}

function signOut() {
  sessionStorage.removeItem("chat");
  session.stop();
  location.replace(location.pathname);
}

// ?name=alice&room=lobby&room=news starts at once, so that a link can be passed on.
const query = new URLSearchParams(location.search);
const saved = JSON.parse(sessionStorage.getItem("chat") ?? "null");
if (query.get("name")) {
  const rooms = query.getAll("room").filter(Boolean);
  enter(query.get("name"), rooms.length > 0 ? rooms : ["lobby"], []);
} else if (saved?.name) {
  enter(saved.name, saved.rooms, saved.people);
} else {
  view.entrance(localStorage.getItem("name") ?? "");
}
