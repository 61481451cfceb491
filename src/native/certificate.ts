/**
 * The certificate and the key of `--tls-cert` and `--tls-key`. uWebSockets.js reads the files
 * itself and only says that it failed, so they are read and checked here first.
 * native-notes/tls.md
 */
import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { HoldlineError } from '../errors.js';

/** The paths of two PEM files. */
export interface CertificateFiles {
  /** The certificate, followed by those that sign it. */
  readonly tlsCert: string;
  /** Its private key, without a passphrase. */
  readonly tlsKey: string;
}

/** What is known of a certificate that can be served. */
export interface CertificateFacts {
  readonly subject: string;
  /** The names that it is for, as its field says (RFC 5280, 4.2.1.6); empty without the field. */
  readonly names: string;
  /** ms since the epoch. */
  readonly expiresAtMs: number;
}

/** A certificate that was checked. */
export interface CheckedCertificate extends CertificateFacts {
  /** Of both files: the same for the same contents. */
  readonly digest: string;
}

/**
 * Reads and checks both files. Throws HOLDLINE_BAD_OPTION, in words, for a file that cannot be
 * read or has something else in it, and for a key of another certificate. A certificate that has
 * expired is served all the same: some clients take it, and without it none would be served.
 */
export function readCertificate({ tlsCert, tlsKey }: CertificateFiles): CheckedCertificate {
  const cert = read(tlsCert, 'the certificate (--tls-cert)');
  const key = read(tlsKey, 'the key (--tls-key)');
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(cert);
  } catch (cause) {
    throw bad(`the certificate (--tls-cert) ${show(tlsCert)} must be a certificate in PEM`, cause);
  }
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m.test(key)) {
    throw bad(
      `the key (--tls-key) ${show(tlsKey)} must be without a passphrase; ` +
        'openssl pkey -in KEY -out NEW_KEY removes it',
    );
  }
  try {
    createSecureContext({ key });
  } catch (cause) {
    throw bad(`the key (--tls-key) ${show(tlsKey)} must be a private key in PEM`, cause);
  }
  try {
    createSecureContext({ cert, key });
  } catch (cause) {
    const isOfAnother =
      (cause as NodeJS.ErrnoException).code === 'ERR_OSSL_X509_KEY_VALUES_MISMATCH';
    throw bad(
      isOfAnother
        ? `the key (--tls-key) ${show(tlsKey)} must be that of the certificate (--tls-cert) ${show(tlsCert)}, and is that of another`
        : `the certificate (--tls-cert) ${show(tlsCert)} and the key (--tls-key) ${show(tlsKey)} cannot be used (${wordsOf(cause)})`,
      cause,
    );
  }
  return {
    subject: certificate.subject ?? '',
    names: certificate.subjectAltName ?? '',
    expiresAtMs: Date.parse(certificate.validTo),
    digest: createHash('sha256').update(cert).update('\0').update(key).digest('hex'),
  };
}

/**
 * The error for files that Node takes and uWebSockets.js does not: its TLS library knows fewer
 * kinds of key, or a file was changed between the two readings.
 */
export function refusedCertificate({ tlsCert }: CertificateFiles, cause: unknown): HoldlineError {
  return bad(
    `the certificate (--tls-cert) ${show(tlsCert)} is of a kind that uWebSockets.js does not ` +
      'serve; use an RSA key, or one on the curve P-256 or P-384',
    cause,
  );
}

function read(path: string, what: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch (cause) {
    throw bad(`${what} ${show(path)} cannot be read (${(cause as Error).message})`, cause);
  }
}

/** The system's code where there is one; a message of OpenSSL else. Neither quotes the file. */
function wordsOf(cause: unknown): string {
  const { code, message } = cause as NodeJS.ErrnoException;
  return code ?? message;
}

function show(path: string): string {
  return JSON.stringify(path);
}

function bad(problem: string, cause?: unknown): HoldlineError {
  return new HoldlineError('HOLDLINE_BAD_OPTION', problem, { cause });
}
