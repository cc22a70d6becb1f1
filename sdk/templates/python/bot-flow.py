"""A conversation: a button that counts how often it was pressed.

What each function is asked and may answer stands in wit/bot-flow.wit.
"""

import re

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import bot_flow, plugin
from wit_world.imports import config, log


class Plugin(exports.Plugin):
    def describe(self) -> plugin.About:
        return plugin.About("{{name}}", "0.1.0", "A conversation.", [])

    def check_config(self) -> None:
        """Tells every problem of the settings at once.

        With any the plugin does not load, so that the hooks need not look again.
        """
        problems = []
        if not greeting().strip():
            problems.append(plugin.ConfigProblem("greeting", "is empty: the bot has to say something", []))
        # What is raised as `Err` is the `err` of a function's result, and what is returned its `ok`.
        if problems:
            raise Err(problems)


class BotFlow(exports.BotFlow):
    def handle(self, call, update, memory):
        """A variant is a class for each case. `memory` is all that is left of the calls before."""
        pressed = read_count(memory)
        match update.what:
            case bot_flow.Happening_Start() | bot_flow.Happening_Command(bot_flow.Command(name="start")):
                return [bot_flow.Effect_Say(with_button(f"{greeting()} {told(pressed)}"))]
            case bot_flow.Happening_Press(press):
                now = pressed + 1
                log.write(log.Level.INFO, f"pressed {now} times", [])
                return [
                    bot_flow.Effect_Edit(bot_flow.Edit(press.message_id, with_button(told(now)), [])),
                    bot_flow.Effect_Remember(str(now).encode()),
                ]
            case bot_flow.Happening_Text() | bot_flow.Happening_Command():
                return [bot_flow.Effect_Say(bot_flow.Reply("Send /start to begin.", [], None, []))]
            case _:  # Outcomes, notices, timers and what later versions add.
                return []


def greeting() -> str:
    return config.get("greeting") or ""


def told(pressed: int) -> str:
    return f"The button was pressed {pressed} times."


def with_button(text: str) -> bot_flow.Reply:
    button = bot_flow.Button("Press", "press", None, [])
    return bot_flow.Reply(text, [[button]], None, [])


def read_count(memory: bytes | None) -> int:
    # Another version of the plugin may have remembered something else: what is no number counts as none.
    return int(memory) if memory and re.fullmatch(b"[0-9]{1,9}", memory) else 0
