// The chat page: joins under a name, shows what happens in the room, and comes back by itself when the connection ends.

const BACK_AT_ONCE_MS = 50; // A server that restarts says so, and is there again in a moment.
const BACK_MAX_MS = 10_000;
const SHOWN_MAX = 500; // Lines of the log; older ones go.

const RESTARTED = 1012;
const REFUSED = 1008;

const [log, members, status, join, say, send] = ["log", "members", "status", "join", "say", "send"].map((id) =>
  document.getElementById(id),
);
const nameField = document.getElementById("name");
const textField = document.getElementById("text");

let wanted = sessionStorage.getItem("name"); // The name to join under; null before somebody has given one.
let own = null; // The name that the room has given us.
let socket = null;
let failures = 0; // Attempts since we were last in the room.
let following = true; // Whether the end of the log is in view.

// The connection

function connect() {
  const url = new URL("chat", document.baseURI);
  url.protocol = url.protocol.replace("http", "ws");
  url.searchParams.set("name", wanted);
  socket = new WebSocket(url);
  socket.addEventListener("message", ({ data }) => receive(JSON.parse(data)));
  socket.addEventListener("close", closed);
}

function closed({ code, reason }) {
  // Whatever has been typed stays in its field until it can be sent.
  send.disabled = true;
  showMembers([]);
  if (code === REFUSED) {
    leave(reason);
    return;
  }
  const delay = code === RESTARTED ? BACK_AT_ONCE_MS : Math.min(BACK_MAX_MS, 500 * 2 ** failures);
  failures += 1;
  showStatus(code === RESTARTED ? "The server restarts. Coming back…" : "The connection is lost. Trying again…", true);
  // Not all of them at the same moment.
  setTimeout(connect, delay * (1 + Math.random() / 2));
}

function receive(event) {
  switch (event.kind) {
    case "welcome":
      own = event.name;
      failures = 0;
      send.disabled = false;
      showMembers(event.names);
      showStatus(`You are here as ${own}.`);
      break;
    case "joined":
    case "left":
      showMembers(event.names);
      showNotice(`${event.name} ${event.kind === "left" ? "has left" : "is here"}`);
      break;
    case "said":
      showMessage(event.name, event.text);
      break;
  }
}

// What people do

join.addEventListener("submit", (submit) => {
  submit.preventDefault();
  const name = nameField.value.trim();
  if (name) {
    enter(name);
  }
});

say.addEventListener("submit", (submit) => {
  submit.preventDefault();
  const text = textField.value.trim();
  if (text && socket.readyState === WebSocket.OPEN) {
    socket.send(JSON.stringify({ text }));
    textField.value = "";
  }
});

function enter(name) {
  wanted = name;
  sessionStorage.setItem("name", name);
  join.hidden = true;
  say.hidden = false;
  send.disabled = true;
  textField.focus();
  showStatus("Joining…");
  connect();
}

function leave(why) {
  sessionStorage.removeItem("name");
  join.hidden = false;
  say.hidden = true;
  nameField.focus();
  showStatus(why, true);
}

// What is shown

function showStatus(text, trouble = false) {
  status.textContent = text;
  status.classList.toggle("trouble", trouble);
}

function showMembers(names) {
  members.replaceChildren(...names.map((name) => element("li", { style: hue(name) }, element("bdi", {}, name))));
}

function showMessage(name, text) {
  const last = log.lastElementChild;
  const message = element("p", { class: name === own ? "message own" : "message", style: hue(name) });
  message.dataset.name = name;
  // Every message has its name, so that it is read out; it is seen once for several in a row, and not for one's own.
  const known = name === own || last?.dataset.name === name;
  message.append(
    element("bdi", { class: known ? "name unseen" : "name" }, name),
    element("span", { class: "text", dir: "auto", title: new Date().toLocaleTimeString() }, text),
  );
  show(message);
}

function showNotice(text) {
  show(element("p", { class: "notice" }, text));
}

function show(line) {
  document.getElementById("empty")?.remove();
  log.append(line);
  while (log.childElementCount > SHOWN_MAX) {
    log.firstElementChild.remove();
  }
  follow();
}

function follow() {
  if (following) {
    log.scrollTop = log.scrollHeight;
  }
}

log.addEventListener("scroll", () => {
  // Somebody who has scrolled up to read stays there.
  following = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
});
// The keyboard of a phone makes the log smaller.
new ResizeObserver(follow).observe(log);

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    made.setAttribute(name, value);
  }
  // Strings become text nodes: nothing that somebody says is ever read as HTML.
  made.append(...children);
  return made;
}

function hue(name) {
  // The same colour for the same name on every page.
  let sum = 0;
  for (const character of name) {
    sum = (sum * 31 + character.codePointAt(0)) % 65_536;
  }
  // Steps of the golden angle keep neighbours apart.
  return `--hue: ${Math.round((sum * 137.5) % 360)}`;
}

if (wanted) {
  enter(wanted);
}
