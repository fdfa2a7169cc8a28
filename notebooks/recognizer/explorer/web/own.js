"use strict";
// The user's own pictures: chosen, dropped, pasted, or from the camera.

// Pictures are added one after another, so that the last one is also shown last.
let adding = Promise.resolve();
function addOwn(source, name) {
  adding = adding.then(() => addNow(source, name));
  return adding;
}

async function addNow(source, name) {
  let pixels;
  try {
    pixels = fitted(await coloursOf(source), DATA.input, DATA.resize);
  } catch {
    complain(whyNot(name));
    return;
  }
  const canvas = document.createElement("canvas");
  show(canvas, pixels, DATA.input);
  pictures.push({ label: "Yours", name, pixels, address: canvas.toDataURL(), probabilities: null, isExample: false });
  await choosePicture(pictures.length - 1);
}

function whyNot(name) {
  const isHeic = /\.(heic|heif)$/i.test(name);
  if (isHeic) return `${name} is a HEIC photograph, which this browser cannot read; save it as JPEG.`;
  return `This browser cannot read ${name} as a picture, or it is too large; choose a JPEG or PNG.`;
}

function takeFiles(files) {
  if (files.length) complain(""); // only once, so that the message about one file stays when the next is a picture
  return Promise.all([...files].map((file) => addOwn(file, file.name)));
}

function allowOwn() {
  const allowed = KNOWS_NETWORK && DATA.resize !== null;
  $("own-row").hidden = !allowed;
  if (!allowed) return;
  $("file").onchange = () => {
    takeFiles([...$("file").files]);
    $("file").value = ""; // so that the same file can be chosen again
  };
  document.addEventListener("paste", (event) => takeFiles(event.clipboardData.files));
  const hasFiles = (event) => event.dataTransfer.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dropping");
  });
  document.addEventListener("drop", (event) => {
    document.body.classList.remove("dropping");
    if (!hasFiles(event)) return;
    event.preventDefault();
    takeFiles(event.dataTransfer.files);
  });
  allowCamera();
}

const CAMERA_PROBLEMS = {
  NotAllowedError: "The browser was not allowed to use the camera; allow it in the address bar, or choose a file.",
  NotFoundError: "There is no camera here; choose a file instead.",
  NotReadableError: "Another program is using the camera; close it, or choose a file.",
};

function allowCamera() {
  const video = $("video");
  const close = () => {
    if (video.srcObject) video.srcObject.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
    $("camera-box").hidden = true;
    $("camera").disabled = false;
  };
  $("camera").hidden = !(navigator.mediaDevices && navigator.mediaDevices.getUserMedia);
  $("camera").onclick = async () => {
    complain("");
    $("camera").disabled = true; // a second stream would never be stopped
    $("shoot").disabled = true;
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      $("camera-box").hidden = false;
      await video.play();
      $("shoot").disabled = false; // now there is an image
      $("shoot").focus();
    } catch (error) {
      close();
      complain(CAMERA_PROBLEMS[error.name] || "The camera cannot be used here; choose a file instead.");
    }
  };
  $("shoot").onclick = async () => {
    await addOwn(video, "from the camera");
    close();
    $("camera").focus();
  };
  $("camera-off").onclick = () => {
    close();
    $("camera").focus();
  };
  window.addEventListener("pagehide", close);
}
