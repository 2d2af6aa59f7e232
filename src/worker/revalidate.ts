/**
 * Checks whether open connections would still be admitted after a change of the configuration
 * (`close_on_change`).
 */
import type { Logger } from 'pino';
import { identityOf } from '../connection/authorize-identity.ts';
import type { Listener } from '../connection/listener.ts';
import { type Connection, factsOf } from '../connection/state.ts';
import { type Decision, decide, leadsAlike } from '../decide/decide.ts';
import type { Refusal } from '../decide/refusals.ts';
import { ProxyError } from '../errors.ts';
import { createPacer } from '../process/pacer.ts';
import type { Authorizer } from '../tls/client-auth/authorize.ts';

/** What open connections are checked against. */
type Court = {
  /** The listeners of the new configuration, by name. */
  readonly listeners: ReadonlyMap<string, Listener>;
  /** Whether that configuration is still being served. */
  readonly isCurrent: () => boolean;
  readonly end: (connection: Connection, reason: string) => void;
  readonly logger: Logger;
};

/**
 * How many connections wait for a check of the user's own at a time, since new clients have to wait behind
 * them.
 */
const askedAtOnce = 4;
const firstPauseMs = 1000;
const longestPauseMs = 60_000;

/**
 * Ends connections that would not be admitted. If a check gives no answer, the connection stays, and is
 * checked again later. Resolves when all are decided, or another configuration is served.
 */
export function endUnwelcome(connections: readonly Connection[], court: Court): Promise<void> {
  return judgeAll(connections, court).then((questions) => askUntilAnswered(questions, court));
}

type Question = { readonly connection: Connection; readonly authorizer: Authorizer };

/** Applies the rules; returns the questions left for a check. */
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
 * Why a connection would not be admitted: its listener or route is gone, leads elsewhere, or refuses its
 * client. Or the check that has yet to decide. undefined if it would be admitted, or is still being
 * established: then the rules it arrived under apply.
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

/** Asks a few at a time; returns those without an answer. */
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
      'no answer whether open connections are still allowed: they stay, and are checked again',
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
