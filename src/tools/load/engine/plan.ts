/** What one process has to do, as plain data that can be sent to it. Times are in milliseconds. */
import type { ProtocolName } from '../../../protocols/table.ts';

export type Plan = {
  /** Already resolved: `host` is an IP address. */
  readonly target: { readonly host: string; readonly port: number } | { readonly path: string };
  /** Whichever comes first; Infinity means that the other decides. Both count from the end of the warm-up. */
  readonly connections: number;
  readonly durationMs: number;
  readonly warmupMs: number;
  readonly pace: Pace;
  /** Absent: plain TCP. */
  readonly tls: TlsPlan | undefined;
  readonly starttls: ProtocolName | undefined;
  readonly proxyHeader: 'v1' | 'v2' | undefined;
  readonly exchange: Exchange;
  readonly holdMs: number;
  readonly close: 'fin' | 'reset';
  /** The limit for each wait of a connection: to connect, for the handshake, for the answer, for progress. */
  readonly timeoutMs: number;
};

/**
 * Closed: the next connection begins when one has ended. Open: connections begin by the clock, however long
 * they take.
 */
export type Pace =
  | { readonly kind: 'closed'; readonly concurrency: number }
  | {
      readonly kind: 'open';
      readonly perSecond: number;
      /** The time of the first arrival, since processes take turns. */
      readonly offsetMs: number;
      readonly maxOpen: number;
    };

export type TlsPlan = {
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3' | undefined;
  readonly maxVersion: 'TLSv1.2' | 'TLSv1.3' | undefined;
  readonly ciphers: string | undefined;
  readonly groups: string | undefined;
  readonly sigalgs: string | undefined;
  /** Server names, used in turn from `firstName` on; if empty, no SNI is sent. */
  readonly names: readonly string[];
  readonly firstName: number;
  readonly alpn: readonly string[];
  /** PEM. */
  readonly cert: string | undefined;
  readonly key: string | undefined;
  /** PEM, or the roots that Node trusts; undefined if the server's certificate is not verified. */
  readonly ca: string | 'system' | undefined;
  /** The name that the certificate must have if there is no SNI. */
  readonly host: string;
  readonly resume: boolean;
};

export type Exchange =
  | { readonly kind: 'none' }
  | {
      readonly kind: 'messages';
      readonly rounds: number;
      /** This many random bytes, or these bytes. */
      readonly payload: { readonly size: number } | { readonly bytes: Uint8Array };
      readonly answer: 'echo' | 'until_close' | { readonly size: number };
    }
  | { readonly kind: 'up'; readonly size: number }
  | { readonly kind: 'down'; readonly size: number; readonly bytes: Uint8Array | undefined };
