// Speaks to the worker. Knows the token, which lives in this tab's session storage and is sent to nobody else, and what a refusal
// means in words.

const TOKEN = "campanile.token";
const SESSION = "/console/session";

/** Nobody waits longer for an answer: an error with a way to try again says more than a wheel. */
const ANSWERS_WITHIN_MS = 20_000;

/** What the worker says of who is asking: `role` is `admin` or `read`; `open` when it has no tokens at all. */
export const session = { role: null, open: false, version: "" };

/** Something that did not work, told in words. */
export class Trouble extends Error {
  /** `status` is 0 when nobody answered. `errors` have `file line column problem meant`, as `campanile validate` prints them. */
  constructor(status, detail, { where = null, errors = [], retryAfter = null } = {}) {
    super(detail);
    Object.assign(this, { status, where, errors, retryAfter });
  }

  get title() {
    return TITLES[this.status] ?? (this.status >= 500 ? "The worker has a problem" : "The worker refused this");
  }
}

const TITLES = {
  0: "The worker does not answer",
  401: "The token is not known",
  403: "Your token may not do that",
  404: "It is not there",
  409: "That is not possible now",
  412: "Somebody changed the definitions meanwhile",
  413: "That is too large",
  422: "That cannot be accepted as it is",
  429: "The worker has enough to do",
  503: "Something the worker needs is away",
};

let askForToken = async () => {};

/** Sets who is called when a token is needed: it resolves after a `signIn`; `refused` says that there was one, not known any more. */
export function onTokenNeeded(ask) {
  askForToken = ask;
}

/** Keeps a token that the worker knows; a `Trouble` of 401 or 403 says that it is none for here. */
export async function signIn(token) {
  const response = await exchange("GET", SESSION, token, {});
  if (!response.ok) throw await refusal(response);
  sessionStorage.setItem(TOKEN, token);
  Object.assign(session, await response.json());
}

export function signOut() {
  sessionStorage.removeItem(TOKEN);
}

/** Learns who we are; asks for a token first, unless there is one or none is needed. */
export async function begin() {
  Object.assign(session, await get(SESSION));
}

export function get(path, query = {}, signal = undefined) {
  return json("GET", path, { query, signal });
}

/** `revision` is the one that was looked at: the worker refuses when the definitions have another by now. */
export function post(path, body = undefined, { signal = undefined, revision = null } = {}) {
  return json("POST", path, { body, signal, revision });
}

/** What a `post` would do, and the revision of the definitions that says so. */
export async function dryRun(path) {
  const response = await request("POST", path, { query: { dry_run: true } });
  return { answer: await response.json(), revision: response.headers.get("etag") };
}

/** The path of something below `/v1`, from parts that may hold anything. */
export function at(...parts) {
  return `/v1/${parts.map(encodeURIComponent).join("/")}`;
}

/**
 * Calls `heard` with the name (`message` where it has none) and the data of each event of a stream, until it ends or `signal` stops
 * it. By hand, because the browser's own EventSource can send no token.
 */
export async function listen(path, signal, opened, heard) {
  const response = await request("GET", path, { signal, streams: true });
  opened();
  let rest = "";
  let name = "message";
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("event:")) name = line.slice(6).trim();
      else if (line.startsWith("data:")) heard(name, line.slice(5).trim());
      else if (line === "") name = "message";
    }
  }
}

async function json(method, path, options) {
  const response = await request(method, path, options);
  return response.status === 204 ? null : response.json();
}

/** One request; a 401 asks for a token and tries again. */
async function request(method, path, options) {
  for (;;) {
    const token = sessionStorage.getItem(TOKEN);
    const response = await exchange(method, path, token, options);
    if (response.ok) return response;
    if (response.status !== 401) throw await refusal(response);
    // Another request may have got a new one meanwhile.
    if (token === sessionStorage.getItem(TOKEN)) await needed(token !== null);
  }
}

let asking = null;

/** However many requests find out at once, it is asked once. */
function needed(refused) {
  asking ??= askForToken(refused).finally(() => (asking = null));
  return asking;
}

async function exchange(method, path, token, { body, query = {}, signal, revision = null, streams = false }) {
  const url = new URL(path, location.origin);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  }
  const headers = { accept: streams ? "text/event-stream" : "application/json" };
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  if (revision !== null) headers["if-match"] = revision;
  const limits = [signal, streams ? null : AbortSignal.timeout(ANSWERS_WITHIN_MS)].filter(Boolean);
  try {
    return await fetch(url, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.any(limits),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    const late = error.name === "TimeoutError";
    throw new Trouble(0, late ? `no answer within ${ANSWERS_WITHIN_MS / 1000} s` : "it may be restarting, or the connection is gone");
  }
}

async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  const detail = problem.detail ?? problem.title ?? `it answered ${response.status}`;
  const retryAfter = response.headers.get("retry-after");
  return new Trouble(response.status, detail, { where: problem.where, errors: problem.errors ?? [], retryAfter });
}
