/** Certificates for tests, signed by themselves and made by openssl; gone when the tests are. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { makeCertificate } from './openssl.js';

/** The files of a certificate, as `--tls-cert` and `--tls-key` take them. */
export interface TestCertificate {
  readonly tlsCert: string;
  readonly tlsKey: string;
}

/** A folder for a file of tests, and what makes certificates in it. */
export interface CertificateFolder {
  readonly path: string;
  /** A certificate for localhost and 127.0.0.1; `kind` is what `openssl req -newkey` takes. */
  make(name: string, kind?: readonly string[]): TestCertificate;
}

export function certificateFolder(): CertificateFolder {
  const path = mkdtempSync(join(tmpdir(), 'holdline-tls-'));
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  return {
    path,
    make(name, kind) {
      const tlsCert = join(path, `${name}.crt`);
      const tlsKey = join(path, `${name}.key`);
      makeCertificate({ key: tlsKey, certificate: tlsCert }, { name, kind });
      return { tlsCert, tlsKey };
    },
  };
}

/** What a client needs to trust it. */
export function trust({ tlsCert }: TestCertificate): Buffer {
  return readFileSync(tlsCert);
}
