/** Whether connections that are open would be let in again, now that the configuration is another (`close_on_change`). */
import type { Logger } from 'pino';
import { identityOf } from '../connection/authorize-identity.ts';
import type { Listener } from '../connection/listener.ts';
import { type Connection, factsOf } from '../connection/state.ts';
import { type Decision, decide, leadsAlike } from '../decide/decide.ts';
import type { Refusal } from '../decide/refusals.ts';
import { ProxyError } from '../errors.ts';
import { createPacer } from '../process/pacer.ts';
import type { Authorizer } from '../tls/client-auth/authorize.ts';

/** Where connections are judged anew. */
type Court = {
  /** By name, those of the new configuration. */
  readonly listeners: ReadonlyMap<string, Listener>;
  /** Whether it is still the one that is served. */
  readonly isCurrent: () => boolean;
  readonly end: (connection: Connection, reason: string) => void;
  readonly logger: Logger;
};

/** So many wait for a check of the user's own at a time: those who are just coming wait behind them. */
const askedAtOnce = 4;
const firstPauseMs = 1000;
const longestPauseMs = 60_000;

/**
 * Ends those that would not be let in. A check that gives no answer has not denied: whoever is in stays, and is asked about
 * again. Resolves when all are judged, or another configuration is served.
 */
export function endUnwelcome(connections: readonly Connection[], court: Court): Promise<void> {
  return judgeAll(connections, court).then((questions) => askUntilAnswered(questions, court));
}

type Question = { readonly connection: Connection; readonly authorizer: Authorizer };

/** By the rules; what is left is to be asked. */
async function judgeAll(connections: readonly Connection[], court: Court): Promise<Question[]> {
  const pacer = createPacer();
  const questions: Question[] = [];
  for (const connection of connections) {
    if (!court.isCurrent()) return [];
    const verdict = judge(connection, court.listeners.get(connection.listener.name));
    if (typeof verdict === 'string') court.end(connection, verdict);
    else if (verdict) questions.push({ connection, authorizer: verdict });
    if (pacer.isDue()) await pacer.rest();
  }
  return questions;
}

async function askUntilAnswered(questions: readonly Question[], court: Court): Promise<void> {
  let left = questions;
  for (let pause = firstPauseMs; left.length > 0; pause = Math.min(2 * pause, longestPauseMs)) {
    left = await askAll(left, court);
    if (left.length === 0 || !court.isCurrent()) return;
    await new Promise((resolve) => setTimeout(resolve, pause).unref());
  }
}

/**
 * Why a connection would not be let in: its listener or route is gone, leads elsewhere, or refuses its client. Or a check
 * that is yet to be asked; undefined if it would be let in, and for one that is still being established, which is judged by
 * the rules that it came under.
 */
function judge(connection: Connection, listener: Listener | undefined): string | Authorizer | undefined {
  const { decision: old } = connection;
  if (old === undefined || !isOpen(connection)) return undefined;
  if (!(listener ?? connection.listener).config.close_on_change) return undefined;
  if (listener === undefined) return 'its listener was removed';
  const decided = decide(listener.rules, factsOf(connection));
  if (decided.kind === 'refusal' || !leadsAlike(old, decided)) return whyEnded(decided);
  const { route } = decided;
  if (route.kind !== 'terminate' || old.route.kind !== 'terminate') return undefined;
  const verdict = route.policy === old.route.policy ? undefined : route.policy.recheck(connection.clientCert);
  return verdict && !verdict.ok ? verdict.error.message : route.authorizer;
}

function whyEnded(decided: Decision | Refusal): string {
  switch (decided.kind === 'refusal' ? decided.code : undefined) {
    case 'ERR_PROXY_HEADER_UNTRUSTED':
      return 'its peer is no longer trusted to send PROXY headers';
    case 'ERR_ADDRESS_DENIED':
      return 'its address is no longer let in';
    default:
      return 'its route was removed';
  }
}

/** A few at a time. Those without an answer are left. */
async function askAll(questions: readonly Question[], court: Court): Promise<Question[]> {
  const unanswered: Question[] = [];
  const rest = questions.values();
  let failure: ProxyError | undefined;

  async function askOneByOne(): Promise<void> {
    for (const question of rest) {
      if (!court.isCurrent()) return;
      const { connection } = question;
      if (!isOpen(connection)) continue;
      const error = await refusalOf(question);
      if (error === undefined || !court.isCurrent()) continue;
      if (error.code === 'ERR_AUTHORIZE_DENIED') court.end(connection, error.message);
      else {
        failure ??= error;
        unanswered.push(question);
      }
    }
  }

  await Promise.all(Array.from({ length: askedAtOnce }, askOneByOne));
  if (failure && court.isCurrent()) {
    const { code, message } = failure;
    court.logger.warn(
      { connections: unanswered.length, code, error: message },
      'no answer whether open connections are still let in: they stay, and are asked about again',
    );
  }
  return unanswered;
}

async function refusalOf({ connection, authorizer }: Question): Promise<ProxyError | undefined> {
  try {
    await authorizer.check(identityOf(connection));
    return undefined;
  } catch (error) {
    if (error instanceof ProxyError) return error;
    throw error;
  }
}

function isOpen({ record, raw }: Connection): boolean {
  return record.phase === 'splice' && !raw.destroyed;
}
