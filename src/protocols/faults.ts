/** The errors that protocols have in common. Each protocol adds what happened, and what to do about it. */
import { ProxyError } from '../errors.ts';

/** Makes an error of what a side did: "sends a line of more than 4096 bytes". */
export type Fault = (what: string) => ProxyError;

/** For clients that do not speak the protocol of their listener. */
export function clientFault(hint: string): Fault {
  return (what) =>
    new ProxyError('ERR_STARTTLS_INVALID', { side: 'client', message: `the client ${what}`, hint });
}

/** What to do about them where a listener takes no others. */
export function onlyFor(starttls: string): string {
  return `the listener has starttls: ${starttls}; other clients need a listener of their own`;
}

/** For a client that has not asked for TLS where it must. */
export function plainText(title: string, hint: string): ProxyError {
  return new ProxyError('ERR_STARTTLS_REQUIRED', {
    side: 'client',
    message: `the client speaks ${title} in plain text`,
    hint,
  });
}

/** For what follows a request for TLS too early: it would be taken for part of the protected session. */
export function stuffed(cve: 'CVE-2011-0411' | 'CVE-2021-23222'): ProxyError {
  return new ProxyError('ERR_STARTTLS_STUFFED', {
    side: 'client',
    message: 'the client sent bytes ahead of the answer to its request for TLS',
    hint: `this is how plain text is smuggled into a protected session (${cve})`,
  });
}

/** For a client that leaves politely. */
export function gone(): ProxyError {
  return new ProxyError('ERR_CLIENT_CLOSED', { side: 'client', message: 'the client said goodbye' });
}

/** For servers that do not speak the protocol that is configured. */
export function serverFault(hint: string): Fault {
  return (what) =>
    new ProxyError('ERR_UPSTREAM_STARTTLS_INVALID', {
      side: 'upstream',
      message: `the server ${what}`,
      hint,
    });
}

/** For a server that has no TLS, or none for us. */
export function noTls(message: string, hint: string): ProxyError {
  return new ProxyError('ERR_UPSTREAM_STARTTLS_REFUSED', { side: 'upstream', message, hint });
}

/** For a server that fails its health check. */
export const unhealthy: Fault = (what) =>
  new ProxyError('ERR_UPSTREAM_DOWN', { side: 'upstream', message: `the server ${what}` });
