/** Buttons that are links: they can be opened in a new tab and are announced as links. */

import { Anchor, type AnchorProps, Button, type ButtonProps } from "@mantine/core";
import { createLink } from "@tanstack/react-router";
import type { AnchorHTMLAttributes, Ref } from "react";

type Native = { ref?: Ref<HTMLAnchorElement> } & Omit<
  AnchorHTMLAttributes<HTMLAnchorElement>,
  "color" | "style"
>;

function ButtonAnchor(props: ButtonProps & Native) {
  return <Button component="a" {...props} />;
}

function TextAnchor(props: AnchorProps & Native) {
  return <Anchor {...props} />;
}

export const ButtonLink = createLink(ButtonAnchor);
export const TextLink = createLink(TextAnchor);
