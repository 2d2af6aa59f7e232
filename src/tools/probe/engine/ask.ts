/** Asks one question: sends a ClientHello and reads the answer. The handshake goes no further. */
import { systemCode } from '../../../errors.ts';
import { type Offer, writeHello } from '../../../peek/write-hello.ts';
import { Failure } from './failure.ts';
import { type Answer, readAnswer } from './flight.ts';
import { closeLink, openLink, type Way } from './link.ts';

/** `said` is what arrived before the endpoint closed, reset, or fell silent. */
export type Reply = (Answer | { readonly kind: 'closed' | 'reset' | 'silent' }) & {
  readonly said: Buffer;
  readonly connectMs: number;
};

/** Connects, asks, and closes. Throws a Failure if it cannot connect, or STARTTLS is refused. */
export async function ask(way: Way, offer: Offer): Promise<Reply> {
  const link = await openLink(way);
  const { raw, over, connectMs } = link;
  let said: Buffer = Buffer.alloc(0);
  const answer = await new Promise<Answer | { kind: 'closed' | 'reset' | 'silent' }>((resolve) => {
    over.on('data', (chunk: Buffer) => {
      said = Buffer.concat([said, chunk]);
      const found = readAnswer(said);
      if (found) resolve(found);
    });
    over.on('end', () => resolve({ kind: 'closed' }));
    over.on('error', (error) => resolve({ kind: endOf(error) }));
    raw.on('close', () => resolve({ kind: 'closed' }));
    over.write(writeHello(offer));
    // The socket is paused after STARTTLS.
    over.resume();
  });
  // Tells the server that nothing is wrong with the handshake (RFC 8446 §6.1).
  if (answer.kind === 'flight' && !raw.destroyed) over.write(closeNotify);
  await closeLink(link);
  return { ...answer, said, connectMs };
}

const closeNotify = Buffer.of(21, 3, 3, 0, 2, 1, 0);

function endOf(error: Error): 'reset' | 'silent' | 'closed' {
  if (error instanceof Failure) return 'silent';
  return systemCode(error) === 'ECONNRESET' ? 'reset' : 'closed';
}
