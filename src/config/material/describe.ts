/** Describes certificates and CRLs for people: names, dates, and OpenSSL's complaints. */
import type { X509Certificate } from 'node:crypto';
import type { Path, Report } from '../finding.ts';
import { readValidity } from './der.ts';

const day = 86_400_000;

/** Warns about each certificate of the chain that has expired, expires soon, or is not valid yet. */
export function warnOfDates(certificates: readonly X509Certificate[], path: Path, report: Report): void {
  for (const certificate of certificates) {
    const [from, to] = datesOf(certificate);
    const message = describeDates(from, to);
    report.holdsUntil?.(datesHoldUntil(from, to));
    if (message) report.warn(path, `the certificate "${nameOf(certificate)}" ${message}`, 'renew it');
  }
}

/** Node takes ten times as long to print dates, and to read them again. */
function datesOf(certificate: X509Certificate): readonly [from: Date, to: Date] {
  const [from, to] = readValidity(certificate.raw) ?? [certificate.validFrom, certificate.validTo];
  return [new Date(from), new Date(to)];
}

/**
 * `expired 3 days ago`, `expires in 5 days`, `is not valid before 2030-01-01`; undefined if there is no cause
 * to worry. `soon` is enough time to renew, by default by hand.
 */
export function describeDates(from: Date, to: Date, soon = 21 * day): string | undefined {
  const now = Date.now();
  if (to.getTime() < now) return `expired ${inDays(now - to.getTime())} ago`;
  if (from.getTime() > now)
    return `is not valid before ${from.toISOString().slice(0, 16).replace('T', ' ')} UTC`;
  return to.getTime() - now < soon ? `expires in ${inDays(to.getTime() - now)}` : undefined;
}

/** When `describeDates` would next say something else, in ms since 1970. */
export function datesHoldUntil(from: Date, to: Date, soon = 21 * day): number {
  const now = Date.now();
  const left = to.getTime() - now;
  if (left < 0) return now + day - (-left % day);
  if (from.getTime() > now) return from.getTime();
  return left < soon ? now + (left % day) + 1 : now + left - soon + 1;
}

/** Whole days until a date; negative once it is past. */
export function daysLeft(to: Date, now = Date.now()): number {
  return Math.floor((to.getTime() - now) / day);
}

function inDays(milliseconds: number): string {
  const days = Math.floor(milliseconds / day);
  return days === 0 ? 'less than a day' : days === 1 ? '1 day' : `${days} days`;
}

/** The common name of a certificate, or else its whole subject. */
export function nameOf(certificate: X509Certificate): string {
  const subject = certificate.subject ?? '';
  return (
    /(?:^|\n)CN=(.*)/.exec(subject)?.[1] ??
    (subject.replaceAll('\n', ', ') || 'a certificate without a subject')
  );
}

/**
 * OpenSSL's message without its codes: `ee key too small` of `error:0A00018F:SSL routines::ee key too small`.
 */
export function reasonOf(error: unknown): string {
  return (error as Error).message.replace(/^error:[0-9A-F]+:[^:]*:[^:]*:/i, '');
}
