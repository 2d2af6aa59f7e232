/**
 * The user's own check of a client. It runs in a thread of its own, so that a check that never
 * returns blocks only its own client: the thread is ended and restarted, and the clients waiting
 * behind that one are checked again.
 */
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { ProxyError } from '../../errors.ts';
import { type Deferred, deferred } from '../../process/deferred.ts';
import type { Descriptors } from '../../process/descriptors.ts';
import { orElse } from '../../process/or-else.ts';
import { urlOf } from '../../process/own-files.ts';
import { ended, failure, printable, refusal, refusalOf, unusableError } from './authorize-errors.ts';
import type { FromThread, ThreadData, ToThread } from './authorize-thread.ts';
import type { ClientCert } from './client-auth.ts';
import type { ClientCertificate, ClientIdentity } from './client-identity.ts';

export type Authorizer = {
  /** Resolves when the module is loaded; rejects with ERR_AUTHORIZE_FAILED and the reason if it cannot be. */
  readonly ready: () => Promise<void>;
  /**
   * Resolves if the check lets the client in. Rejects with ERR_AUTHORIZE_DENIED, ERR_AUTHORIZE_FAILED (it
   * threw, ended its thread, answered nonsense, or too many wait) or ERR_AUTHORIZE_TIMEOUT.
   */
  readonly check: (identity: ClientIdentity) => Promise<void>;
  /** Ends the thread and denies every client that is still waiting. */
  readonly close: () => Promise<void>;
};

export type AuthorizerOptions = {
  /** Per check. Default: 1,000. */
  readonly timeoutMs?: number;
  /** Gets what the module writes to stdout and stderr, which would garble our log. Dropped by default. */
  readonly onOutput?: (text: string) => void;
  /** Counts the descriptors that the thread opens. */
  readonly descriptors?: Pick<Descriptors, 'claim' | 'give'>;
};

/**
 * Starts a thread with the module's default export (absolute path). Loads the module and its imports anew.
 */
export function createAuthorizer(modulePath: string, options: AuthorizerOptions = {}): Authorizer {
  const checker: Checker = {
    modulePath,
    timeoutMs: options.timeoutMs ?? 1000,
    onOutput: options.onOutput,
    descriptors: options.descriptors,
    firstLoad: deferred(),
    waiting: new Map(),
    lastId: 0,
    crashes: 0,
    state: { kind: 'paused' },
  };
  // A caller that does not use it need not handle its rejection.
  checker.firstLoad.promise.catch(() => {});
  startThread(checker);
  return {
    ready: () => checker.firstLoad.promise,
    check: (identity) => new Promise((resolve, reject) => enqueue(checker, { identity, resolve, reject })),
    close: () => close(checker),
  };
}

/** What `authorize` may know about an accepted certificate: names only if an authority vouches for them. */
export function describeForAuthorize({ fingerprint, spki = '', ...cert }: ClientCert): ClientCertificate {
  const { verifiedBy = 'pin', subject, names } = cert;
  const base64 = cert.der.toString('base64').replace(/.{64}(?=.)/g, '$&\n');
  const pem = `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`;
  if (!names) return { fingerprint, spki, verifiedBy, pem };
  const { cn, ou, uris, dns, emails } = names;
  return { fingerprint, spki, verifiedBy, subject, cn, ou, uris, dns, emails, pem };
}

const limits = {
  waiting: 1000,
  loadMs: 10_000,
  firstPauseMs: 100,
  longestPauseMs: 10_000,
} as const;

type Thread = { readonly worker: Worker; readonly progress: Int32Array; error: string };

type State =
  | { readonly kind: 'starting'; readonly thread: Thread; readonly timer: NodeJS.Timeout }
  | { readonly kind: 'ready'; readonly thread: Thread }
  /** Between two threads; `unusable` is why the last one could not load the module. */
  | { readonly kind: 'paused'; readonly timer?: NodeJS.Timeout; readonly unusable?: string }
  | { readonly kind: 'closed' };

type Request = {
  readonly id: number;
  readonly identity: ClientIdentity;
  readonly resolve: () => void;
  readonly reject: (error: ProxyError) => void;
  timer: NodeJS.Timeout | undefined;
  /** It was already in a thread that had to be ended, so it is not asked a third time. */
  asked: boolean;
};

type Checker = {
  readonly modulePath: string;
  readonly timeoutMs: number;
  readonly onOutput: ((text: string) => void) | undefined;
  readonly descriptors: AuthorizerOptions['descriptors'];
  readonly firstLoad: Deferred;
  readonly waiting: Map<number, Request>;
  lastId: number;
  crashes: number;
  state: State;
};

function startThread(checker: Checker): void {
  const data: ThreadData = {
    module: pathToFileURL(checker.modulePath).href,
    progress: new Int32Array(new SharedArrayBuffer(8)),
  };
  const worker = orElse(undefined, () => newThread(data));
  if (worker === undefined) {
    const error = failure(
      checker.modulePath,
      'has no thread to run in: the system could not start one',
      "see the system's limits on threads",
    );
    checker.firstLoad.reject(error);
    pause(checker);
    return;
  }
  checker.descriptors?.claim(descriptorsOfThread);
  worker.once('exit', () => checker.descriptors?.give(descriptorsOfThread));
  const thread: Thread = { worker, progress: data.progress, error: '' };
  worker.on('message', (message: FromThread) => receive(checker, thread, message));
  worker.on('error', (error) => {
    thread.error = `: ${error instanceof Error ? error.message : String(error)}`;
  });
  worker.once('exit', (code) => crashed(checker, thread, code));
  const timer = setTimeout(
    () => unusable(checker, thread, `it did not load within ${limits.loadMs} ms`),
    limits.loadMs,
  );
  checker.state = { kind: 'starting', thread, timer };
}

/** Throws if the system cannot start another thread. */
function newThread(workerData: ThreadData): Worker {
  return new Worker(urlOf('authorize-thread'), {
    workerData,
    name: 'authorize',
    stdout: true,
    stderr: true,
    resourceLimits: { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 32 },
  });
}

/** How many descriptors a thread's event loop opens on Linux. */
const descriptorsOfThread = 5;

function receive(checker: Checker, thread: Thread, message: FromThread): void {
  if (!isCurrent(checker, thread)) return;
  if (message.kind === 'ready') becomeReady(checker, thread);
  else if (message.kind === 'unusable') unusable(checker, thread, message.reason);
  else if (message.kind === 'output') checker.onOutput?.(message.text);
  else {
    checker.crashes = 0;
    const request = checker.waiting.get(message.id);
    if (request) settle(checker, request, refusalOf(checker.modulePath, message.answer));
  }
}

function becomeReady(checker: Checker, thread: Thread): void {
  if (checker.state.kind === 'starting') clearTimeout(checker.state.timer);
  checker.state = { kind: 'ready', thread };
  // The thread alone need not keep the process alive; a client that waits for an answer does.
  thread.worker.unref();
  checker.firstLoad.resolve();
  for (const request of checker.waiting.values()) ask(checker, request);
}

function isCurrent({ state }: Checker, thread: Thread): boolean {
  return (state.kind === 'starting' || state.kind === 'ready') && state.thread === thread;
}

function enqueue(checker: Checker, parts: Pick<Request, 'identity' | 'resolve' | 'reject'>): void {
  const obstacle = obstacleFor(checker);
  if (obstacle) {
    parts.reject(obstacle);
    return;
  }
  // Ids wrap around within what the shared Int32Array can hold; 0 means none.
  checker.lastId = (checker.lastId % 0x7fffffff) + 1;
  const request: Request = { ...parts, id: checker.lastId, timer: undefined, asked: false };
  checker.waiting.set(request.id, request);
  ask(checker, request);
}

function obstacleFor(checker: Checker): ProxyError | undefined {
  const { state, waiting } = checker;
  if (state.kind === 'closed') return ended(checker.modulePath);
  if (state.kind === 'paused' && state.unusable !== undefined)
    return unusableError(checker.modulePath, state.unusable);
  if (waiting.size < limits.waiting) return undefined;
  return failure(checker.modulePath, `already has ${limits.waiting} clients waiting for an answer`);
}

/** Starts the request's clock, or restarts it, and passes the request to the thread if there is one. */
function ask(checker: Checker, request: Request): void {
  clearTimeout(request.timer);
  request.timer = setTimeout(halfTime, checker.timeoutMs / 2, checker, request);
  if (checker.state.kind === 'ready') {
    post(checker.state.thread, { id: request.id, identity: request.identity });
  }
}

/** Half the time is over: from here on the thread must show signs of life. */
function halfTime(checker: Checker, request: Request): void {
  const { state } = checker;
  const thread = state.kind === 'ready' ? state.thread : undefined;
  const seen = thread && Atomics.load(thread.progress, 1);
  if (thread) post(thread, 'ping');
  const timer = setTimeout(() => {
    // Timers run before messages. If we were the slow ones, the answer is already
    // here; this way it is read first.
    setImmediate(() => {
      if (checker.waiting.has(request.id) && request.timer === timer) timeOut(checker, request, thread, seen);
    });
  }, checker.timeoutMs / 2);
  request.timer = timer;
}

/**
 * A thread that answers others is just slow with this client. A silent one is stuck in the
 * check of whichever client it is on.
 */
function timeOut(checker: Checker, request: Request, thread: Thread | undefined, seen?: number): void {
  const hint = 'see what the module waits for: a check has one second';
  const what = `did not answer within ${checker.timeoutMs} ms`;
  const error = refusal(checker.modulePath, 'ERR_AUTHORIZE_TIMEOUT', what, hint);
  if (!thread || !isCurrent(checker, thread) || Atomics.load(thread.progress, 1) !== seen) {
    settle(checker, request, error);
    return;
  }
  const culprit = Atomics.load(thread.progress, 0) || request.id;
  abandon(checker, thread);
  denyOrKeep(checker, (waiting) => waiting.id === culprit, error);
  startThread(checker);
}

/** The thread ended by itself: process.exit, an uncaught error, out of memory. */
function crashed(checker: Checker, thread: Thread, exitCode: number): void {
  if (!isCurrent(checker, thread)) return;
  const culprit = Atomics.load(thread.progress, 0);
  abandon(checker, thread);
  const error = failure(
    checker.modulePath,
    `ended its thread (exit code ${exitCode})${printable(thread.error)}`,
  );
  checker.firstLoad.reject(error);
  denyOrKeep(checker, (waiting) => culprit === 0 || waiting.id === culprit, error);
  pause(checker);
}

function unusable(checker: Checker, thread: Thread, reason: string): void {
  abandon(checker, thread);
  const error = unusableError(checker.modulePath, reason);
  checker.firstLoad.reject(error);
  denyOrKeep(checker, () => true, error);
  pause(checker, reason);
}

function abandon(checker: Checker, { worker }: Thread): void {
  if (checker.state.kind === 'starting') clearTimeout(checker.state.timer);
  checker.state = { kind: 'paused' };
  void worker.terminate();
}

/** Denies the possible culprits, and requests that were asked twice; passes the others to the next thread. */
function denyOrKeep(checker: Checker, isCulprit: (request: Request) => boolean, error: ProxyError): void {
  for (const request of checker.waiting.values()) {
    if (isCulprit(request) || request.asked) settle(checker, request, error);
    else {
      request.asked = true;
      ask(checker, request);
    }
  }
}

function pause(checker: Checker, reason?: string): void {
  const ms = Math.min(limits.firstPauseMs * 2 ** checker.crashes, limits.longestPauseMs);
  checker.crashes += 1;
  const timer = setTimeout(startThread, ms, checker).unref();
  checker.state = { kind: 'paused', timer, ...(reason === undefined ? {} : { unusable: reason }) };
}

async function close(checker: Checker): Promise<void> {
  const { state } = checker;
  checker.state = { kind: 'closed' };
  for (const request of checker.waiting.values()) settle(checker, request, ended(checker.modulePath));
  if (state.kind === 'paused' || state.kind === 'starting') clearTimeout(state.timer);
  if (state.kind === 'starting' || state.kind === 'ready') await state.thread.worker.terminate();
  checker.firstLoad.reject(ended(checker.modulePath));
}

function settle({ waiting }: Checker, request: Request, error: ProxyError | undefined): void {
  waiting.delete(request.id);
  clearTimeout(request.timer);
  if (error) request.reject(error);
  else request.resolve();
}

function post({ worker }: Thread, message: ToThread): void {
  worker.postMessage(message);
}
