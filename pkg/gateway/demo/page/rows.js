// One row of the message log. Everything that came over the wire is set as textContent.

const hues = 8;
const sameSpeaker = 5 * 60_000; // ms within which a second message needs no new head

function element(tag, className, text = "") {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

function hue(id) {
  let sum = 0;
  for (const character of id) sum = (sum * 31 + character.codePointAt(0)) % 9973;
  return `hue-${sum % hues}`;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

export function messageRow(message, previous, actions) {
  if (message.divider) return element("li", "divider", message.divider);
  const follows = previous && !previous.divider && previous.from === message.from && previous.mine === message.mine &&
    previous.via === message.via && message.ts - previous.ts < sameSpeaker;
  const row = element("li", ["message", message.mine ? "mine" : "", follows ? "follows" : "", message.state].join(" "));
  const speaker = message.from || "server";

  const face = element("span", `face ${hue(speaker)}`, [...(message.name || speaker)][0]);
  face.setAttribute("aria-hidden", "true");
  row.append(face);

  const body = element("div", "body");
  if (!follows) body.append(head(message, speaker, actions));
  body.append(element("p", message.code ? "text code" : "text", message.text));
  if (message.state === "failed") {
    const failure = element("p", "failure", `Not sent. ${message.error} `);
    const again = element("button", "quiet", "Try again");
    again.type = "button";
    again.onclick = () => actions.retry(message);
    failure.append(again);
    body.append(failure);
  } else if (message.state === "sending") {
    body.append(element("p", "failure", "Sending…"));
  }
  row.append(body);
  return row;
}

function head(message, speaker, actions) {
  const line = element("p", "head");
  if (message.mine || !message.from) {
    line.append(element("span", "who", message.mine ? "You" : "Server"));
  } else {
    // The name is what the sender claims, the id is what the gateway vouches for: where they differ, both are shown.
    const who = element("button", "who", message.name && message.name !== speaker ? message.name : speaker);
    who.type = "button";
    who.title = `Write to ${speaker}`;
    who.onclick = () => actions.write(speaker);
    line.append(who);
    if (message.name && message.name !== speaker) line.append(element("span", "id", speaker));
  }
  const time = element("time", "", clock.format(message.ts));
  time.dateTime = new Date(message.ts).toISOString();
  line.append(time);
  if (message.via) {
    const via = element("span", "via", message.via);
    via.title = `Sent through the gateway ${message.via}`;
    line.append(via);
  }
  return line;
}
