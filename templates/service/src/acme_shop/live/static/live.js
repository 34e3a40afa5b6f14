// Shows what is said, twice over: by WebSocket, and by server-sent events.

const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 15_000;
// The server refuses the page itself, or what it sends: trying again would not help.
const POLICY = 1008;

const state = document.querySelector("#state");
const say = document.querySelector("#say");
let socket;
let retryMs = RETRY_MS_MIN;

function show(list, message) {
  const entry = document.createElement("li");
  entry.textContent = `${new Date(message.at).toLocaleTimeString()} ${message.text}`;
  document.querySelector(list).prepend(entry);
}

function connect() {
  const url = new URL("api/live/socket", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(url);
  socket.onopen = () => {
    state.value = "Connected.";
    retryMs = RETRY_MS_MIN;
  };
  socket.onmessage = (event) => show("#by-socket", JSON.parse(event.data));
  socket.onclose = (event) => {
    if (event.code === POLICY) {
      state.value = "Closed by the service: too much at once.";
      return;
    }
    // Browsers do not come back by themselves. Not all at one moment, or they would arrive as a wave.
    state.value = "Connection lost, trying again …";
    setTimeout(connect, retryMs * (0.5 + Math.random()));
    retryMs = Math.min(retryMs * 2, RETRY_MS_MAX);
  };
}

function listen() {
  // Comes back by itself, and says what it has got last.
  new EventSource("api/live/events").onmessage = (event) => show("#by-events", JSON.parse(event.data));
}

function start() {
  connect();
  listen();
}

say.onsubmit = (event) => {
  event.preventDefault();
  if (socket?.readyState === WebSocket.OPEN) {
    socket.send(say.elements.text.value);
    say.reset();
  }
};

// feature: auth
const signIn = document.querySelector("#sign-in");

signIn.onsubmit = async (event) => {
  event.preventDefault();
  const response = await fetch("api/auth/session", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(Object.fromEntries(new FormData(signIn))),
  });
  if (response.ok) {
    signIn.hidden = true;
    start();
  } else {
    state.value = (await response.json()).detail;
  }
};
// end

async function isLetIn() {
  // feature: auth
  if (!(await fetch("api/auth/session")).ok) {
    state.value = "Nobody is signed in.";
    signIn.hidden = false;
    return false;
  }
  // end
  return true;
}

if (await isLetIn()) {
  start();
}
