"""What nvcc made of the kernels is what the committed table says: registers, spills, shared bytes and the tensor instructions that each must have."""

from __future__ import annotations

import dataclasses

import pytest
import static_gate

ROW = static_gate.Row("sm_90a", "conv_x<float>", 96, 0, 1024, 500, 0, 16, 0, 8, 4, 0, 2)
TABLE = {(ROW.architecture, ROW.kernel): ROW}


def test_the_build_has_the_committed_figures(record_property):
    if reason := static_gate.missing():
        pytest.skip(reason)
    version, table = static_gate.committed()
    rows = static_gate.read(static_gate.extension())
    assert rows
    assert not static_gate.complaints(rows, table, same_compiler=version == static_gate.compiler())
    record_property("static_rows", len(rows))


def test_equal_figures_raise_no_complaint():
    assert static_gate.complaints([ROW], TABLE, same_compiler=True) == []


@pytest.mark.parametrize("column", static_gate.COLUMNS[2:])
def test_any_other_figure_is_named(column):
    changed = dataclasses.replace(ROW, **{column: getattr(ROW, column) + 1})
    found = static_gate.complaints([changed], TABLE, same_compiler=True)
    assert any(f"{column} is {getattr(ROW, column) + 1}" in line for line in found)


def test_with_another_compiler_only_what_must_hold_is_asked():
    changed = dataclasses.replace(ROW, registers=99, instructions=480, mma=32, barriers=1)
    assert static_gate.complaints([changed], TABLE, same_compiler=False) == []
    for lost in ({"mma": 0}, {"load_matrix": 0}, {"async_copy": 0}, {"wgmma": 1}, {"local": 2}, {"stack_bytes": 8}):
        assert static_gate.complaints([dataclasses.replace(ROW, **lost)], TABLE, same_compiler=False), lost


def test_kernels_that_came_or_went_are_named():
    other = dataclasses.replace(ROW, kernel="conv_y<float>")
    found = static_gate.complaints([other], TABLE, same_compiler=True)
    assert any("conv_y<float> on sm_90a is not in the table" in line for line in found)
    assert any("conv_x<float> on sm_90a is in the table, not in the build" in line for line in found)


def test_the_table_reads_back_as_written(tmp_path, monkeypatch):
    monkeypatch.setattr(static_gate, "compiler", lambda: "nvcc 1.2.3")
    static_gate.write([ROW], tmp_path / "table.tsv")
    assert static_gate.committed(tmp_path / "table.tsv") == ("nvcc 1.2.3", TABLE)
