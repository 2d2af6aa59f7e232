/** The TLS 1.3 alert for a client whose certificate we refuse after its handshake is done. */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { countTickets, type SealedAlert, sealAlert, secretIn } from './sealed-alert.ts';

/** Holds a secret of the connection, so use or forget it as soon as the verdict on the client is known. */
export type LastAlert = {
  /**
   * The record that carries the alert. Write it to the raw socket at once, and nothing after it but a FIN:
   * OpenSSL does not know about it, and would use its record number again. Undefined if it isn't certain how
   * many records OpenSSL has sent. Do not call it within the event that ended the handshake, since OpenSSL
   * sends its tickets after that event.
   */
  readonly seal: (alert: SealedAlert) => Buffer | undefined;
  readonly forget: () => void;
};

/** Whether this 'keylog' line is the one that `createLastAlert` needs. */
export function isServerSecret(line: Buffer): boolean {
  return line.length > label.length && line.toString('latin1', 0, label.length) === label;
}

const label = 'SERVER_TRAFFIC_SECRET_0';

/**
 * Call it within 'secureConnection', before anything is sent under this secret. `tickets`:
 * whether the policy issues any.
 */
export function createLastAlert(
  { raw, stream }: { readonly raw: Socket; readonly stream: TLSSocket },
  line: Buffer,
  tickets: boolean,
): LastAlert {
  const sentBefore = raw.bytesWritten;
  const forget = () => {
    line.fill(0);
  };
  return {
    seal(alert) {
      const secret = secretIn(line, label);
      forget();
      const session = stream.getSession();
      if (!secret || !session) return undefined;
      const sequence = countTickets(raw.bytesWritten - sentBefore, session.length);
      // A full handshake comes with tickets. If we see none, they are still on their way, or were
      // sent before we started counting.
      const isCertain = sequence !== undefined && (sequence > 0 || stream.isSessionReused() || !tickets);
      const suite = stream.getCipher().standardName;
      const record = isCertain ? sealAlert(alert, { secret, suite, sequence }) : undefined;
      secret.fill(0);
      return record;
    },
    forget,
  };
}
