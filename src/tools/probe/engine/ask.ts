/** One question: a ClientHello of our own, and what comes back. The handshake goes no further. */
import { systemCode } from '../../../errors.ts';
import { type Offer, writeHello } from '../../../peek/write-hello.ts';
import { Failure } from './failure.ts';
import { type Answer, readAnswer } from './flight.ts';
import { closeLink, openLink, type Way } from './link.ts';

/** `said` is what came before it ended, was reset, or fell silent. */
export type Reply = (Answer | { readonly kind: 'closed' | 'reset' | 'silent' }) & {
  readonly said: Buffer;
  readonly connectMs: number;
};

/** Connects, asks, closes. Throws a Failure if there is no connection, or STARTTLS is refused. */
export async function ask(way: Way, offer: Offer): Promise<Reply> {
  const link = await openLink(way);
  const { raw, connectMs } = link;
  let said: Buffer = Buffer.alloc(0);
  const answer = await new Promise<Answer | { kind: 'closed' | 'reset' | 'silent' }>((resolve) => {
    raw.on('data', (chunk: Buffer) => {
      said = Buffer.concat([said, chunk]);
      const found = readAnswer(said);
      if (found) resolve(found);
    });
    raw.on('end', () => resolve({ kind: 'closed' }));
    raw.on('error', (error) => resolve({ kind: endOf(error) }));
    raw.on('close', () => resolve({ kind: 'closed' }));
    raw.write(writeHello(offer));
    // It is paused where TLS was asked for.
    raw.resume();
  });
  // It says nothing is wrong with a handshake in progress (RFC 8446 §6.1).
  if (answer.kind === 'flight' && !raw.destroyed) raw.write(closeNotify);
  await closeLink(link);
  return { ...answer, said, connectMs };
}

const closeNotify = Buffer.of(21, 3, 3, 0, 2, 1, 0);

function endOf(error: Error): 'reset' | 'silent' | 'closed' {
  if (error instanceof Failure) return 'silent';
  return systemCode(error) === 'ECONNRESET' ? 'reset' : 'closed';
}
