import pytest

from atomdrgn.analysis.chimerax import chimerax_selection, write_script


@pytest.mark.parametrize("ours, theirs", [
    ("A", "/A"), ("A:2-214,B:2-236", "/A:2-214/B:2-236"), ("A:1-5,A:10-20,B", "/A:1-5,10-20/B"), ("B:82A", "/B:82A"),
    (":1-27,:104-119", ":1-27,104-119")])
def test_selections_are_written_as_chimerax_reads_them(ours, theirs):
    assert chimerax_selection(ours) == theirs


def test_the_script_opens_what_is_there_and_colours_the_groups(tmp_path):
    groups = [{"selection": "A:1-20"}, {"selection": "A:21-40"}]
    files = {"motion1.cif": "along motion 1", "centres.cif": "centres"}
    write_script(tmp_path / "show.cxc", files=files, topology=None, groups=groups)
    lines = (tmp_path / "show.cxc").read_text().splitlines()
    assert 'open "motion1.cif" coordsets true' in lines and 'open "centres.cif" coordsets true' in lines
    assert "color /A:1-20 #0072B2" in lines and "hide #2-2 models" in lines
    write_script(tmp_path / "show.cxc", files={"motion1.dcd": "along motion 1"}, topology="reference.pdb", groups=groups)
    text = (tmp_path / "show.cxc").read_text()
    assert 'open "reference.pdb"\nopen "motion1.dcd" structureModel #1' in text
