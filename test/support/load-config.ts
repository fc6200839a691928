// Configs to read, most of one entry, and the problems in them.

import { type Loaded, loadConfig, type LoadOptions } from "../../src/config/load.ts";

const options: LoadOptions = { resourcePrefix: "intel.com", useCdi: false, socketNameLimit: 73 };

/** Reads a config, given as text or as what JSON writes. */
export const load = (config: unknown, more: Partial<LoadOptions> = {}): Loaded =>
  loadConfig(typeof config === "string" ? config : JSON.stringify(config), { ...options, ...more });

/** An entry that is right, but for these fields. */
export const entry = (fields: object = {}) => ({ resourceName: "a", selectors: [{}], ...fields });

/** A config of these entries. */
export const list = (...entries: unknown[]) => ({ resourceList: entries });

/** Reads a config of one entry. */
export const loadEntry = (fields: object) => load(list(entry(fields)));

/** Reads a config of one entry with one selector object. */
export const loadSelector = (selector: unknown, fields: object = {}) => loadEntry({ selectors: [selector], ...fields });

/** The problems, each as its severity, path and message. */
export const problemsOf = ({ problems }: Loaded) =>
  problems.map(({ severity, path, message }) => `${severity} ${path}: ${message}`);

export const severities = ({ problems }: Loaded) => problems.map(({ severity }) => severity);
