// Compare what npm installed with integrity.json: names, versions and digests of all packages, and no addresses.
//   node check_integrity.mjs           fails if one is not what it was
//   node check_integrity.mjs --write   writes integrity.json, after package.json was changed
import { readFileSync, writeFileSync } from "node:fs";

const lock = JSON.parse(readFileSync("node_modules/.package-lock.json", "utf8"));
const found = Object.fromEntries(
  Object.entries(lock.packages).map(([path, { version, integrity }]) => {
    return [`${path.replace(/^.*node_modules\//, "")}@${version}`, integrity];
  }),
);
if (process.argv.includes("--write")) {
  writeFileSync("integrity.json", `${JSON.stringify(found, Object.keys(found).sort(), 2)}\n`);
} else {
  const known = JSON.parse(readFileSync("integrity.json", "utf8"));
  const wrong = Object.keys(found).filter((name) => known[name] !== found[name]);
  // Programs for other machines than the maintainers' have no entry; npm checked them against its registry.
  const isNative = (name) => /^@(esbuild|typescript)\//.test(name) && !(name in known);
  const unexpected = wrong.filter((name) => !isNative(name));
  if (unexpected.length) {
    console.error(`not the packages of integrity.json: ${unexpected.join(", ")}`);
    console.error("if package.json was changed on purpose: node check_integrity.mjs --write");
    process.exit(1);
  }
}
