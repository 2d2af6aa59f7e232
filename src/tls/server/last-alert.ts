/** The alert that a client gets under TLS 1.3 when its handshake is done and its certificate refused. */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { countTickets, type SealedAlert, sealAlert, secretIn } from './sealed-alert.ts';

/** Holds a secret of the connection: to be used or forgotten as soon as the client's verdict is known. */
export type LastAlert = {
  /**
   * The record that tells it, to be written to the raw socket at once and followed by nothing but a FIN: OpenSSL does not
   * know of it, and would use its number again. Undefined where it isn't certain how many records OpenSSL has sent. Not
   * before the event is over in which the handshake ended: tickets are sent behind it.
   */
  readonly seal: (alert: SealedAlert) => Buffer | undefined;
  readonly forget: () => void;
};

/** The line that `createLastAlert` needs of those that 'keylog' gives. */
export function isServerSecret(line: Buffer): boolean {
  return line.length > label.length && line.toString('latin1', 0, label.length) === label;
}

const label = 'SERVER_TRAFFIC_SECRET_0';

/** To be made within 'secureConnection', when nothing was sent under this secret yet. `tickets`: the policy gives some. */
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
      // A full handshake brings tickets: they are under way still, or were sent before anybody counted.
      const isCertain = sequence !== undefined && (sequence > 0 || stream.isSessionReused() || !tickets);
      const suite = stream.getCipher().standardName;
      const record = isCertain ? sealAlert(alert, { secret, suite, sequence }) : undefined;
      secret.fill(0);
      return record;
    },
    forget,
  };
}
