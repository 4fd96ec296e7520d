"""BAD-INPUT, whole: each row with the tests that prove it. A row without a proof fails.

Rows of the manifest and its inputs are cases of two tables, each of which goes through the real
command (tests/cli/test_run_bad_input.py); the others name their tests, which must be there.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.plan.test_plan_bad_input import ERRORS, WARNINGS
from tests.support.bad_manifests import CASES

ROOT = Path(__file__).parents[2]
BATCH = "test_batch.py::"
COMMANDS = "test_command_rows.py::"
REPLIES = "test_reply_rows.py::"
CANARY = "test_canary.py::"
MATRIX = "test_fault_matrix.py::test_what_the_ledger_says_is_what_the_book_allows"
DOWNLOADS = "test_download.py::"
EXCHANGES = "test_exchange_faults.py::"
TEXT = "test_server_text.py::"
NAMES = f"{COMMANDS}test_names_and_prompts_made_to_harm_are_only_shown"
MONSTERS = "test_conformance.py::test_monstrous_bodies_are_read_too"
MANIFESTS = "test_manifest_bad_input.py::"
INSPECTING = "test_pictures_inspecting.py::"

INPUT: dict[int, tuple[str, ...]] = {
    1: (f"{MANIFESTS}test_missing", f"{MANIFESTS}test_folder", f"{MANIFESTS}test_unreadable"),
    20: (f"{INSPECTING}test_an_unreadable_file_is_told_with_its_errno",),
    23: (f"{INSPECTING}test_what_is_no_picture_is_told_by_what_it_is",),
    33: (f"{COMMANDS}test_a_file_changed_between_plan_and_send_is_not_sent",
         "test_pictures_payload.py::"
         "test_a_file_that_changed_since_it_was_planned_is_not_sent"),
    39: (f"{COMMANDS}test_what_is_no_key_is_refused_by_its_variables_name",
         "test_credentials.py::test_what_is_no_key_is_refused_by_its_variables_name"),
    40: (f"{CANARY}test_a_base_url_with_secrets_is_refused_without_showing_them",
         "test_credentials.py::test_the_key_is_not_sent_in_the_clear",
         "test_manifest_loading.py::test_unfit_base_urls_are_refused"),
    41: ("test_plan.py::test_budgets_that_cannot_hold",),
    42: (f"{COMMANDS}test_a_ledger_that_cannot_be_trusted_stops_everything",
         f"{COMMANDS}test_a_torn_end_is_cut_off_and_said",
         "test_ledger.py::test_every_byte_flipped_is_damage_named_by_its_line"),
    43: (f"{COMMANDS}test_what_was_planted_in_the_outputs_is_not_followed",
         "test_real_faults.py::test_a_full_disk_stops_the_run_and_more_room_lets_it_go_on",
         "test_nth_change_fails.py::test_every_change_refused_in_turn_loses_nothing",
         "test_outputs.py::test_a_vanished_outputs_folder_is_named",
         "test_signals.py::test_second_run_on_a_held_folder_names_the_holder"),
    44: ("test_ledger.py::test_a_clock_set_back_changes_nothing",),
    45: (f"{BATCH}test_paid_for_and_no_picture_is_final_and_billed",
         f"{REPLIES}test_fewer_pictures_than_asked_for_is_done_with_a_warning"),
    46: (f"{REPLIES}test_usage_that_says_nothing_credible_leaves_the_cost_unknown",),
    47: (MATRIX,),
    48: (f"{REPLIES}test_an_id_that_cannot_be_used_is_unknown",
         "test_task_handles.py::test_ids_that_could_leave_their_path_are_no_ids",
         "test_task_handles.py::test_an_id_is_escaped_in_its_path"),
    49: (f"{REPLIES}test_an_unknown_status_waits_until_the_deadline",
         f"{REPLIES}test_success_without_a_picture_is_asked_once_more",
         f"{BATCH}test_expired_result_is_asked_for_once_more",
         f"{REPLIES}test_a_result_that_may_not_be_fetched_stays_at_the_server"),
    50: (f"{REPLIES}test_a_failed_task_is_failed_and_not_charged",
         f"{REPLIES}test_a_vanished_task_is_unknown_and_asked_for_again",
         f"{BATCH}test_stuck_task_is_polled_on_by_the_next_run"),
    51: (f"{TEXT}test_text_in_a_submits_reply", f"{TEXT}test_text_in_a_polls_reply",
         f"{TEXT}test_ten_megabytes_of_it",
         "test_dialect_errors.py::test_every_shape_of_error_is_read"),
    52: ("test_pacing.py::test_retry_after_is_read_or_ignored",
         "test_pacing.py::test_no_retry_after_can_harm",
         f"{BATCH}test_retry_after_holds_the_whole_lane"),
    53: (MATRIX, "test_fault_processes.py::test_a_redirected_submit_is_refused",
         f"{DOWNLOADS}test_three_redirects_are_followed_and_no_fourth"),
    54: (f"{COMMANDS}test_ctrl_c_before_anything_is_sent",
         f"{BATCH}test_interrupt_lets_requests_end_and_tasks_stay",
         "test_signals.py::test_first_signal_lets_what_is_in_flight_end",
         "test_signals.py::test_second_ctrl_c_stops_now_and_further_ones_change_nothing",
         "test_signals.py::test_only_a_second_ctrl_c_breaks_off_what_is_paid_for"),
}  # fmt: skip

HOSTILE: dict[str, tuple[str, ...]] = {
    "the key in an exception, log line, ledger, report, ps": (
        f"{CANARY}test_no_byte_written_or_printed_holds_the_key",
        f"{CANARY}test_not_even_a_defect_shows_the_key",
        "test_transport.py::test_the_key_is_in_no_message_log_or_repr",
    ),
    "a result URL to a place only this machine can reach": (
        f"{DOWNLOADS}test_where_no_result_may_come_from",
        f"{DOWNLOADS}test_one_address_that_is_not_public_refuses_the_name",
        f"{DOWNLOADS}test_odd_spellings_of_addresses_are_read_as_connecting_reads_them",
        "test_addresses.py::test_an_address_of_a_special_range_is_refused",
    ),
    "a name that resolves twice differently": (
        f"{DOWNLOADS}test_a_name_is_resolved_once_and_held_to",
        f"{DOWNLOADS}test_a_certificate_for_another_name_is_refused",
    ),
    "redirects that carry headers to another host": (
        f"{EXCHANGES}test_a_redirect_of_a_post_is_a_reply",
        f"{DOWNLOADS}test_a_redirect_abroad_is_resolved_and_judged_anew",
        f"{BATCH}test_authorization_stays_with_the_endpoint",
        "test_transport.py::test_the_key_goes_to_the_endpoints_alone",
    ),
    "a proxy from the environment": (
        "test_transport.py::test_a_proxy_of_the_environment_is_used_only_if_trusted",
    ),
    "gzip bomb, endless body, slow drip": (
        f"{EXCHANGES}test_a_whole_request_without_a_whole_reply_is_never_called_unsent",
        f"{DOWNLOADS}test_a_bad_body_is_no_result",
        MATRIX,
    ),
    "decompression bombs, parsers of rare formats": (
        f"{INSPECTING}test_a_broken_picture_is_told_with_its_reason",
        f"{REPLIES}test_a_picture_made_to_hurt_is_stored_and_never_decoded",
        "test_pictures_measuring.py::test_any_bytes_are_measured_or_not_and_never_raise",
    ),
    "JSON 100,000 deep, base64 bombs": (
        f"{REPLIES}test_a_reply_made_to_hurt_is_only_a_bad_reply",
        MONSTERS,
    ),
    "YAML billion laughs, tags": (
        "test_manifest_any_bytes.py::test_any_yaml",
        f"{MANIFESTS}test_alias_is_refused_beside_its_anchor",
    ),
    "templates as code": (
        "test_plan_templates.py::test_anything_but_a_name_is_refused_with_its_place",
    ),
    "file names and prompts as HTML, formulas, escapes, bidi": (
        NAMES,
        "test_report.py::test_csv_holds_no_formulas",
        "test_report.py::test_pages_are_escaped",
        "test_plan_bad_input.py::test_nothing_a_file_is_named_breaks_a_message",
    ),
    "links planted in outputs": (
        f"{COMMANDS}test_what_was_planted_in_the_outputs_is_not_followed",
        f"{COMMANDS}test_a_link_in_the_place_of_our_own_file_goes_and_not_its_target",
        "test_outputs.py::test_what_is_planted_under_a_name_is_neither_followed_nor_overwritten",
    ),
    "two runs at once, a lock file left behind, a planted lock": (
        "test_lock.py::test_a_second_process_is_told_who_holds_it_and_kill_9_frees_it",
        "test_lock.py::test_a_lock_file_left_behind_is_no_obstacle",
        "test_lock.py::test_a_planted_lock_is_refused_and_nothing_is_written_through_it",
    ),
    "the rehearsal server reached from a page or the network": (
        "test_server.py::test_foreign_hosts_are_refused",
    ),
}


@cache
def functions_in(path: str) -> frozenset[str]:
    """The names of the test functions of the files so named, those in classes too."""
    files = [ast.parse(each.read_text()) for each in ROOT.rglob(path)]
    return frozenset(
        node.name
        for tree in files
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def missing(proofs: tuple[str, ...]) -> list[str]:
    return [
        proof for path, name, proof in ((*one.split("::"), one) for one in proofs)
        if name not in functions_in(path)
    ]  # fmt: skip


def rows_of_tables() -> set[int]:
    """Rows with a case in one of the tables that go through the real command."""
    ids = [*(case.row for case in CASES), *ERRORS, *WARNINGS]
    return {int(word) for word in (one.split(" ")[0].rstrip(":") for one in ids) if word.isdigit()}


@pytest.mark.parametrize("row", range(1, 55))
def test_every_row_of_bad_input_has_its_proof(row: int) -> None:
    """A case of a table, or tests by name, or both."""
    assert row in rows_of_tables() or row in INPUT
    assert missing(INPUT.get(row, ())) == []


@pytest.mark.parametrize("attack", HOSTILE)
def test_every_attack_has_its_proof(attack: str) -> None:
    """Each row of the hostile table names tests that are there."""
    assert HOSTILE[attack]
    assert missing(HOSTILE[attack]) == []
