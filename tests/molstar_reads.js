// node molstar_reads.js FILE...: what Mol* reads of the first model of each .pdb, .cif or .bcif file, one JSON object a line
const fs = require('fs');
const { CIF } = require('molstar/lib/commonjs/mol-io/reader/cif');
const { parsePDB } = require('molstar/lib/commonjs/mol-io/reader/pdb/parser');
const { trajectoryFromMmCIF } = require('molstar/lib/commonjs/mol-model-formats/structure/mmcif');
const { trajectoryFromPDB } = require('molstar/lib/commonjs/mol-model-formats/structure/pdb');
const { Structure, StructureElement, StructureProperties: P } = require('molstar/lib/commonjs/mol-model/structure');

async function trajectory(file) {
    if (file.endsWith('.pdb')) return trajectoryFromPDB((await parsePDB(fs.readFileSync(file, 'utf8')).run()).result).run();
    const data = file.endsWith('.bcif') ? new Uint8Array(fs.readFileSync(file)) : fs.readFileSync(file, 'utf8');
    const parsed = await CIF.parse(data).run();
    if (parsed.isError) throw new Error(parsed.message);
    return trajectoryFromMmCIF(parsed.result.blocks[0]).run();
}

function reading(structure) {
    const place = StructureElement.Location.create(structure);
    const name = (unit, element) => {
        place.unit = unit; place.element = element;
        return [P.chain.auth_asym_id(place), P.residue.auth_seq_id(place), P.residue.pdbx_PDB_ins_code(place),
            P.atom.auth_atom_id(place)];
    };
    const atoms = [], bonds = [];
    for (const unit of structure.units) {
        for (const element of unit.elements) atoms.push(name(unit, element));
        const { a, b, edgeCount } = unit.bonds;
        for (let i = 0; i < 2 * edgeCount; i++) if (a[i] < b[i]) {
            bonds.push([name(unit, unit.elements[a[i]]), name(unit, unit.elements[b[i]])]);
        }
    }
    for (const { unitA, indexA, unitB, indexB } of structure.interUnitBonds.edges) {
        const [one, other] = [structure.unitMap.get(unitA), structure.unitMap.get(unitB)];
        bonds.push([name(one, one.elements[indexA]), name(other, other.elements[indexB])]);
    }
    return { atoms, bonds, polymerResidues: structure.polymerResidueCount };
}

(async () => {
    for (const file of process.argv.slice(2)) {
        console.log(JSON.stringify(reading(Structure.ofModel((await trajectory(file)).representative))));
    }
})();
